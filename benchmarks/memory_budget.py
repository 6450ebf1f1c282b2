"""Is a memory budget kept? `python -m benchmarks.memory_budget`, as the system counts memory."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.report import RESULTS, Report, command_line
from tests.faults.children import ran
from tests.faults.peak_memory import Peaks, peaks
from tests.faults.peak_models import KINDS
from tests.faults.peak_reconstructions import STACKS, reconstruction_peak

MIB = 2**20
BUDGETS = (64 * MIB, 256 * MIB)
ALLOWED = 1.1  # times the budget
MEANING = (
    "A process is forked for each row; a small fit has run in it before, so that what libraries "
    "load once is not counted. The peak is its resident memory at its largest less that before "
    "the call. The fitted members, and the arrays that a prediction returns, are not counted; "
    "copies of the data are. On a CPU tensors are planned for a quarter of the budget "
    "(`ensembles.memory.MALLOC`), because the allocator holds more than what lives. Of a "
    "reconstruction from file to file the projector's weights are there before, as no budget is of "
    "them; all else counts, of the noise's estimate to what waits to be written. Networks are "
    "trained for a few steps, as later ones take no more. "
    "Not kept, and measured apart: one slice's own state, of which a warning tells before work "
    "starts, such as 80 MiB of jackknife for 256² (1.24 times 64 MiB); and 32 chains of hmc at "
    "128², whose kept images took 86 MiB (1.34 times 64 MiB)."
)


def main(arguments: list[str] | None = None) -> Path:
    """Measure all kinds of work with all budgets, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one kind of each, the smaller budget")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    options = parser.parse_args(arguments)
    kinds, stacks = list(KINDS), list(STACKS)
    if options.quick:
        kinds, stacks = kinds[:1], stacks[:1]
    rows: list[tuple[str, ...]] = []
    written = options.out / "memory_budget.md"
    for budget in BUDGETS[:1] if options.quick else BUDGETS:
        for kind in stacks:
            peak = ran(reconstruction_peak, kind, budget)[0]
            rows.append(_row(f"reconstruct: {kind}", budget, peak))
            written = _report(rows, arguments).write(options.out)  # kept at once
        for kind in kinds:
            found: Peaks = ran(peaks, kind, budget, 5_000 if options.quick else 20_000)[0]
            rows.append(_row(f"fit: {kind}", budget, found.fit))
            rows.append(_row(f"predict: {kind}", budget, found.predict))
            written = _report(rows, arguments).write(options.out)
    return written


def _row(work: str, budget: int, peak: int) -> tuple[str, ...]:
    row = (work, f"{budget / MIB:.0f}", f"{peak / MIB:.0f}", f"{peak / budget:.2f}")
    print(row, flush=True)
    return row


def _report(rows: list[tuple[str, ...]], arguments: list[str] | None) -> Report:
    rows = sorted(rows, key=lambda row: row[0].partition(":")[0])
    kept = sum(float(row[-1]) <= ALLOWED for row in rows)
    words = sys.argv[1:] if arguments is None else arguments
    return Report(
        name="memory_budget",
        title="Is a memory budget kept?",
        command=command_line("python", "-m", "benchmarks.memory_budget", *words),
        columns=("work", "budget in MiB", "peak in MiB", "peak / budget"),
        rows=rows,
        lead=(
            f"{kept} of {len(rows)} peaks are at most 1.1 times the budget; the largest is "
            f"{max(float(row[-1]) for row in rows):.2f} times."
        ),
        notes=[MEANING],
    )


if __name__ == "__main__":
    main()
