"""Is a memory budget kept? `python -m benchmarks.memory_budget`, as the system counts memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.report import RESULTS, Report, command_line
from tests.faults.children import ran
from tests.faults.peak_memory import Peaks, peaks
from tests.faults.peak_models import KINDS

MIB = 2**20
BUDGETS = (64 * MIB, 256 * MIB)
ALLOWED = 1.1  # times the budget
MEANING = (
    "A process is forked for each row; a small fit has run in it before, so that what libraries "
    "load once is not counted. The peak is its resident memory at its largest less that before "
    "the call. The fitted members, and the arrays that a prediction returns, are not counted; "
    "copies of the data are. On a CPU tensors are planned for a quarter of the budget "
    "(`ensembles.memory.MALLOC`), because the allocator holds more than what lives."
)


def main(arguments: list[str] | None = None) -> Path:
    """Measure all kinds of ensembles with all budgets, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one kind, the smaller budget")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args(arguments)
    rows, largest = [], 0.0
    kinds = list(KINDS)[:1] if options.quick else list(KINDS)
    for budget in BUDGETS[:1] if options.quick else BUDGETS:
        for kind in kinds:
            found: Peaks = ran(peaks, kind, budget, 5_000 if options.quick else 20_000)[0]
            parts = [found.fit / budget, found.predict / budget]
            largest = max(largest, *parts)
            row = (kind, f"{budget / MIB:.0f}", *(f"{p * budget / MIB:.0f}" for p in parts))
            rows.append((*row, *(f"{part:.2f}" for part in parts)))
            print(rows[-1], flush=True)
    kept = sum(float(part) <= ALLOWED for row in rows for part in row[4:])
    words = sys.argv[1:] if arguments is None else arguments
    return Report(
        name="memory_budget",
        title="Is a memory budget kept?",
        command=command_line("python", "-m", "benchmarks.memory_budget", *words),
        columns=(
            "ensemble", "budget in MiB", "peak of fit", "peak of predict", "fit / budget",
            "predict / budget",
        ),
        rows=rows,
        lead=(
            f"{kept} of {2 * len(rows)} peaks are at most 1.1 times the budget; the largest is "
            f"{largest:.2f} times."
        ),
        notes=[MEANING],
    ).write(options.out)  # fmt: skip


if __name__ == "__main__":
    main()
