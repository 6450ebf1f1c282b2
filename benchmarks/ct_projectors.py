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


def main() -> None:
    """Measure one part, print and write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("cpu", "gpu"), required=True)
    parser.add_argument("--side", type=int, default=512, help="below 512: a quick look")
    parser.add_argument("--views", type=int, default=60, help="cpu part")
    parser.add_argument("--repeats", type=int, default=15, help="cpu part")
    parser.add_argument("--threads", type=int, default=None, help="cpu part; default: all cores")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu part")
    parser.add_argument("--write", action="store_true", help="write the report of a quick look too")
    options = parser.parse_args()
    made = _gpu(options) if options.part == "gpu" else _cpu(options)
    with tempfile.TemporaryDirectory() as folder:
        kept = options.side >= 512 or options.write
        print(made.write(RESULTS if kept else Path(folder)).read_text())


def _cpu(options: argparse.Namespace) -> Report:
    from benchmarks.projectors.cpu import COLUMNS, rows

    table, notes = rows(options)
    return Report(
        name="ct_projectors_cpu",
        title="Projectors on a processor, and their peers",
        command="python benchmarks/ct_projectors.py " + " ".join(sys.argv[1:]),
        columns=COLUMNS,
        rows=table,
        notes=notes,
    )


def _gpu(options: argparse.Namespace) -> Report:
    from benchmarks.projectors.gpu import report

    return report(quick=options.side < 512)


if __name__ == "__main__":
    main()
