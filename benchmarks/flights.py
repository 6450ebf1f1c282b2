"""Are flight delays predicted with honest uncertainty, on later days and at unseen airports?

    python -m benchmarks.flights [--rows 50000] [--members 10] [--device cuda --workers 6] [--quick]

Up to 50,000 rows are of January–March, and May–December are later; 250,000 rows are of the whole
year but its last days (`benchmarks/flight_delays/split.py`). One report and one figure for each
number of rows: flights_ROWS_DEVICE.md, .json and _shift.png. What is done is kept in --kept, with
the scores of every flight, and not run again: a method that needs no GPU (CatBoost) can be run
elsewhere, with the same --kept, and --report-only reports what is there. Settings are chosen on
validation days alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from bayesnn.executors import Executor, serial_executor
from benchmarks.comparison.cells import Cell, cell_executor, run_cells
from benchmarks.flight_delays.method import Budget
from benchmarks.flight_delays.methods import METHODS
from benchmarks.flight_delays.outcome import Outcome
from benchmarks.flight_delays.run import Prepared, Setting, all_kept, kept, needs_priors, run_cell
from benchmarks.flight_delays.shift import draw_shift
from benchmarks.flight_delays.table import load_flights
from benchmarks.flight_delays.tables import flights_report
from benchmarks.record_file import read_records, write_records
from benchmarks.report import RESULTS, command_line

FULL = Budget()
GPU = Budget(steps=8000, subset=8000)  # of the defaults, what a GPU has more of
STEPS_FOR = 50_000  # rows; of more, as many more steps, so that epochs are as many
QUICK = Budget(
    members=3, draws=5, steps=20, batch_size=128, width=16, subset=200, inducing=16, trees=40,
    prior_rows=150,
)  # fmt: skip
ROWS, QUICK_ROWS = (50_000, 250_000), (800,)
TEST_ROWS, QUICK_TEST_ROWS = 20_000, 300
CHANGED = (
    "members", "steps", "batch_size", "width", "inducing", "trees", "draws", "prior_rows"
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Run what is not kept, and report; return the reports' files."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _options(words)
    budget = dataclasses.replace(
        QUICK if options.quick else GPU if options.device == "cuda" else FULL,
        device=options.device,
        **{name: getattr(options, name) for name in CHANGED if getattr(options, name) is not None},
    )
    flights = load_flights()
    all_data = [
        Prepared(
            flights=flights,
            priors_file=options.priors,
            setting=Setting(
                rows=rows,
                most=options.test_rows or (QUICK_TEST_ROWS if options.quick else TEST_ROWS),
                budget=dataclasses.replace(budget, steps=_steps(budget.steps, rows, options)),
                seed=options.seed,
            ),
        )
        for rows in options.rows or (QUICK_ROWS if options.quick else ROWS)
    ]
    try:
        for data in all_data:
            data.split  # noqa: B018 (too many rows are said before work starts)
    except ValueError as error:
        raise SystemExit(f"--{error}") from error
    paths = []
    for data in all_data:
        workers = None if options.report_only else options.workers
        outcome = _run(data, options.methods, options.kept, workers)
        name = f"flights_{data.setting.rows}_{budget.device}"
        draw_shift(outcome, options.out / f"{name}_shift.png")
        asked = [word for word in words if word != "--report-only"]  # the numbers are the run's
        command = command_line("python", "-m", "benchmarks.flights", *asked)
        report = flights_report(outcome, data, name=name, command=command)
        paths.append(report.write(options.out))
    return paths


def _steps(steps: int, rows: int, options: argparse.Namespace) -> int:
    """Return as many steps as were asked for, or as keep the epochs where rows are more."""
    return steps if options.steps else round(steps * max(1.0, rows / STEPS_FOR))


def _run(data: Prepared, methods: Sequence[str], file: Path, workers: Executor | None) -> Outcome:
    """Run the methods that are not kept; return the scores of all that did not fail."""
    folder, tests = file.parent / f"{file.stem}_scores", data.split.tests
    setting = data.setting
    cells = [Cell(setting.name_for(METHODS[name]), setting.seed, name) for name in methods]
    records = read_records(file)
    known = {Cell(r["data"], r["split"], r["method"]) for r in records if "seconds" in r}
    lost = [c for c in cells if c not in known or not all_kept(folder, c, list(tests))]
    if workers is None:
        cells, lost = [cell for cell in cells if cell not in lost], []
    _forget(file, lost)
    if any(needs_priors(METHODS[cell.method]) for cell in lost):
        data.priors  # noqa: B018 (once, for all workers)
    work = partial(run_cell, data=data, methods=METHODS, folder=folder)
    records = run_cells(work, cells, file, executor=workers or serial_executor())
    failed = {record["method"]: record["error"] for record in records if "error" in record}
    done = {cell.method: cell for cell in cells if cell.method not in failed}
    if not done:
        raise SystemExit(f"no method has scores: {failed or 'none is kept, so none is reported'}")
    return Outcome(
        records={record["method"]: record for record in records},
        scores={
            name: {part: kept(folder, cell, part) for part in tests} for name, cell in done.items()
        },
        day={part: data.flights.day[rows] for part, rows in tests.items()},
        month={part: data.flights.X[rows, 0].astype(int) for part, rows in tests.items()},
        distance=data.distances(),
        failed=failed,
    )


def _forget(file: Path, cells: Sequence[Cell]) -> None:
    """Drop the records of cells whose flights' scores are not kept, so that they run again."""
    lost = set(cells)
    records = read_records(file)
    left = [r for r in records if Cell(r["data"], r["split"], r["method"]) not in lost]
    if len(left) < len(records):
        write_records(file, left)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flights",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--rows", type=_count, nargs="+", help="training rows; a report for each")
    for name, what in (
        ("members", "of an ensemble"),
        ("steps", "of all networks (8000 on a GPU, 2000 else; of over 50,000 rows in proportion)"),
        ("batch-size", "rows a step"),
        ("width", "units of a hidden layer"),
        ("draws", "of MC dropout and mean field"),
        ("inducing", "points of the sparse process"),
        ("trees", "of CatBoost"),
        ("test-rows", "most flights of the validation part and of each test part"),
        ("prior-rows", "rows of the marginal likelihood"),
    ):
        parser.add_argument(f"--{name}", type=_count, help=what)
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME",
        help="some of: " + ", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--workers", type=cell_executor, default="1", help="processes, or ray on this machine"
    )
    parser.add_argument("--report-only", action="store_true", help="of what is kept; run nothing")
    parser.add_argument("--priors", type=Path, help="JSON file of chosen priors, read and added to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a smoke run of half a minute")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--kept",
        type=Path,
        help="JSON file of what is done, scores beside it (OUT/flights_cells.json)",
    )
    options = parser.parse_args(words)
    if options.seed < 0:
        parser.error(f"--seed: expected a whole number of at least 0, got {options.seed}")
    if (options.members or 2) < 2:
        parser.error("--members: expected at least 2, got 1; a lone network is a method already")
    cuda = torch.cuda.is_available() or options.report_only
    if options.device == "cuda" and not cuda:
        parser.error("--device cuda: expected a GPU, found none; use --device cpu")
    options.kept = options.kept or options.out / "flights_cells.json"
    return options


def _count(word: str) -> int:
    try:
        value = int(word)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {word!r}")
    return value


if __name__ == "__main__":
    for path in main():
        print(path.read_text())
