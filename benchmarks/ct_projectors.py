"""How fast are the projectors, beside their peers and beside what the machine could do?

    python benchmarks/ct_projectors.py --part cpu              # about 2 minutes
    python benchmarks/ct_projectors.py --part gpu
    python benchmarks/ct_projectors.py --part cpu --side 64    # a quick look, no report

Every contestant runs in the same process and in turns, and after a warm-up; times are medians of
the clock on the wall (on a machine that does other work too, take --threads 1 --clock cpu: the
processor's time). The peers are in the extra `benchmarks`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.report import RESULTS, Report

TITLES = {
    "cpu": "Projectors on a processor, and their peers",
    "gpu": "Projectors on a GPU, and their peers",
}


def main() -> None:
    """Measure one part, print and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=TITLES, required=True)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--views", type=int, default=None, help="default: 60 (cpu), 360 (gpu)")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=None, help="cpu; default: all cores")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu part")
    parser.add_argument("--write", action="store_true", help="write the report of a small run too")
    options = parser.parse_args()
    if options.part == "cpu":
        from benchmarks.projectors.cpu import COLUMNS, rows
    else:
        from benchmarks.projectors.gpu import COLUMNS, rows
    table, notes = rows(options)
    report = Report(
        name=f"ct_projectors_{options.part}",
        title=TITLES[options.part],
        command="python benchmarks/ct_projectors.py " + " ".join(sys.argv[1:]),
        columns=COLUMNS,
        rows=table,
        notes=notes,
    )
    with tempfile.TemporaryDirectory() as folder:
        kept = options.side >= 512 or options.write
        print(report.write(RESULTS if kept else Path(folder)).read_text())


if __name__ == "__main__":
    main()
