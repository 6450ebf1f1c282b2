"""Regression on UCI sets: our ensembles beside what people use, on the 20 standard splits.

python -m benchmarks.uci [--data-dir DIR] [--sets concrete yacht] [--methods "MC dropout"]
                         [--splits 20] [--workers 2|ray] [--quick] [--out DIR] [--kept FILE]
python -m benchmarks.uci --join FILE --join FILE [--out DIR]

Settings are chosen on a fifth of each split's training rows. One cell, one method on one split, is
kept in --kept as soon as it is done: a call that was interrupted goes on from there. --join runs
nothing: it reports the splits on which the cells of some calls have the exact process, all of the
family and those it is measured by; other methods come along with the splits that they have.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.comparison.cells import Cell, cell_executor, run_cells
from benchmarks.record_file import Record, write_records
from benchmarks.regression.listed import EXACT, FAMILY, NAMES, PEERS, SAMPLED, WITH_PRIOR
from benchmarks.regression.uci_cells import run_cell
from benchmarks.regression.uci_data import FILES, PUBLISHED_SPLITS, QUICK, load
from benchmarks.regression.uci_figure import save_figure
from benchmarks.regression.uci_join import joined, whole_splits
from benchmarks.regression.uci_lead import RIVALS, lead
from benchmarks.regression.uci_notes import notes
from benchmarks.regression.uci_summary import summaries
from benchmarks.regression.uci_tables import COLUMNS, rows
from benchmarks.report import RESULTS, Report, command_line

SMALL = ("yacht", QUICK)  # sets on which a Markov chain takes no minutes
QUICK_SPLITS = LEAST_SPLITS = 2


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.uci", description=__doc__)
    folder = os.environ.get("BAYESNN_DATA")
    parser.add_argument("--data-dir", type=Path, default=Path(folder) if folder else None)
    parser.add_argument("--sets", nargs="+", choices=tuple(FILES), default=tuple(FILES))
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--splits", type=int, default=PUBLISHED_SPLITS)
    parser.add_argument("--workers", type=cell_executor, default="2")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--join", type=Path, action="append", metavar="FILE")
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    options = parser.parse_args(arguments)
    if not 2 <= options.splits <= PUBLISHED_SPLITS:
        parser.error(f"--splits: expected 2 to {PUBLISHED_SPLITS}, got {options.splits}.")
    if options.quick:
        options.sets, options.splits = (QUICK,), QUICK_SPLITS
    for name in () if options.join else options.sets:
        try:
            load(name, options.data_dir)
        except FileNotFoundError as error:
            parser.error(str(error))
    return options


def cells_of(sets: Iterable[str], methods: Iterable[str], splits: int) -> list[Cell]:
    """Return all cells, split by split, so that a run that is cut short compares all methods."""
    sets, methods = tuple(sets), set(methods)
    return [
        Cell(data, i, name)
        for i in range(splits)
        for data in sets
        for name in (EXACT.name, *WITH_PRIOR, *PEERS)  # what shares a prior comes together
        if name in methods and (name not in SAMPLED or data in SMALL)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the report."""
    options = parsed(arguments)
    warnings.simplefilter("ignore")
    name = "uci_quick" if options.quick else "uci"
    kept = options.kept or options.out / f"{name}_cells.json"
    if options.join:
        records, whole = joined_cells(options)
        write_records(kept, records)
        print(report(whole, name, arguments, options.out).write(options.out))
        return
    work = partial(run_cell, folder=options.data_dir, quick=options.quick)
    cells = cells_of(options.sets, options.methods, options.splits)
    records = run_cells(work, cells, kept, executor=options.workers)
    print(report(records, name, arguments, options.out).write(options.out))


def joined_cells(options: argparse.Namespace) -> tuple[list[Record], list[Record]]:
    """Return the cells of the files to join, and those of splits that have all methods."""
    try:
        found = joined(options.join)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    records = [
        record
        for record in found
        if record["data"] in options.sets and record["method"] in options.methods
    ]
    needed = [name for name in (EXACT.name, *FAMILY, *RIVALS) if name in options.methods]
    whole = whole_splits(records, needed)
    if len({(record["data"], record["split"]) for record in whole}) < LEAST_SPLITS:
        raise SystemExit(
            f"--join: expected two splits or more that have all of {', '.join(needed)}; "
            "join the files of all runs, or name the methods that they have with --methods."
        )
    return records, whole


def report(
    records: Iterable[Record], name: str, arguments: Sequence[str] | None, out: Path
) -> Report:
    """Return the report of cells, its figure drawn."""
    sets = summaries(records)
    out.mkdir(parents=True, exist_ok=True)
    save_figure(out / f"{name}.png", sets)
    given = sys.argv[1:] if arguments is None else arguments
    return Report(
        name=name,
        title="Regression on UCI sets: whose predictive distributions are best?",
        command=command_line("python", "-m", "benchmarks.uci", *given),
        columns=COLUMNS,
        rows=rows(sets),
        notes=notes(sets, f"{name}.png"),
        lead=lead(sets),
    )


if __name__ == "__main__":
    main()
