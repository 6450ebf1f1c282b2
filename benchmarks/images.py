"""Do classifiers of images know what they have not learnt?

    python -m benchmarks.images [--set digits|mnist] [--fashion FOLDER] [--methods A,B] [--seeds 5]
        [--budget long|full|reduced] [--device cpu|cuda] [--workers 1] [--quick] [--out DIR]
        [--kept FILE] [--report-alone] [--note TEXT]

Digits against Fashion-MNIST, rendered letters and corruptions of themselves: the same
convolutional network, length of training and number of candidate settings for every method;
settings, temperature and uncertainty are chosen on a validation part of the training images and on
outliers made of these alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bayesnn.executors import Executor
from benchmarks.comparison.cells import Cell, cell_executor, run_cells
from benchmarks.image_classes.budget import FULL, LONG, QUICK, REDUCED, Budget
from benchmarks.image_classes.data import SETS, fashion, fashion_folder
from benchmarks.image_classes.figures import save_figures
from benchmarks.image_classes.kept import forget_other_candidates
from benchmarks.image_classes.methods import METHODS, ONE_NETWORK
from benchmarks.image_classes.notes import notes
from benchmarks.image_classes.summary import by_method
from benchmarks.image_classes.tables import (
    COLUMNS,
    corruption_table,
    lead,
    main_rows,
    settings_table,
    uncertainty_table,
)
from benchmarks.image_classes.work import FASHION, LETTERS, run_cell
from benchmarks.record_file import Record, read_records
from benchmarks.report import RESULTS, Report

BUDGETS = {one.name: one for one in (LONG, FULL, REDUCED)}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one call does, checked."""

    image_set: str
    budget: Budget
    fashion: Path | None
    methods: tuple[str, ...]
    seeds: int
    device: str
    workers: Executor
    out: Path
    kept: Path | None
    report_alone: bool
    note: str

    @property
    def name(self) -> str:
        """How the report's files are called."""
        quick = "_quick" * (self.budget is QUICK)
        return f"images_{self.image_set}{quick}" + "_cuda" * self.device.startswith("cuda")

    @property
    def command(self) -> str:
        """What gives the same numbers; of paths only the folder of Fashion-MNIST is one's own."""
        wishes = ["--set", self.image_set, "--seeds", str(self.seeds), "--device", self.device]
        wishes += ["--quick"] if self.budget is QUICK else ["--budget", self.budget.name]
        if self.methods != tuple(METHODS):
            wishes += ["--methods", ",".join(self.methods)]
        return shlex.join(["python", "-m", "benchmarks.images", *wishes])

    @property
    def cells(self) -> list[Cell]:
        """A split after the other, so that a run that is cut short has whole ones.

        Posteriors of one network come last: their steps are no CUDA graphs, and take long.
        """
        others = f"with {FASHION}" if self.fashion else "letters alone"
        data = f"{self.image_set}, {self.budget.name} ({self.budget.steps} steps), {others}"
        cells = [Cell(data, seed, name) for seed in range(self.seeds) for name in self.methods]
        return sorted(cells, key=lambda cell: cell.method in ONE_NETWORK)


def parsed(arguments: list[str] | None) -> Run:
    """Return what is asked for; a wrong wish ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"),
                        help="looked through for a folder fashion-mnist")  # fmt: skip
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's idx files")
    parser.add_argument("--set", dest="image_set", choices=SETS, default="digits")
    parser.add_argument("--methods", help=f"some of: {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--budget", choices=BUDGETS,
                        help="long on a GPU, else full; reduced for MNIST on a CPU")  # fmt: skip
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=cell_executor, default="1",
                        help="processes, or ray; the numbers are the same")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a smoke run on digits alone")
    parser.add_argument("--out", type=Path, help="folder of the report")
    parser.add_argument("--kept", type=Path, help="file of finished cells, to go on from")
    parser.add_argument("--report-alone", action="store_true",
                        help="run nothing, report what is kept")  # fmt: skip
    parser.add_argument("--note", default="", help="what else the report's readers must know")
    options = parser.parse_args(arguments)
    methods = tuple(METHODS)
    if options.methods:
        methods = _known({name.strip() for name in options.methods.split(",")}, parser)
    if options.seeds < 1:
        parser.error(f"--seeds: expected at least 1, got {options.seeds}.")
    if options.quick and options.image_set != "digits":
        parser.error("--quick: runs on digits alone; leave --set out.")
    try:
        folder = _fashion(options.fashion, options.data_dir)
    except ValueError as error:
        parser.error(str(error))
    out = options.out or (Path(tempfile.mkdtemp()) if options.quick else RESULTS)
    usual = LONG if options.device != "cpu" else REDUCED if options.image_set == "mnist" else FULL
    budget = BUDGETS[options.budget] if options.budget else usual
    return Run(
        image_set=options.image_set, budget=QUICK if options.quick else budget, fashion=folder,
        methods=methods, seeds=1 if options.quick else options.seeds, device=options.device,
        workers=options.workers, out=out,
        kept=options.kept,
        report_alone=options.report_alone, note=options.note,
    )  # fmt: skip


def _known(wanted: set[str], parser: argparse.ArgumentParser) -> tuple[str, ...]:
    """Return the methods in the table's order."""
    unknown = sorted(wanted - set(METHODS))
    if unknown:
        parser.error(f"--methods: expected some of {', '.join(METHODS)}, got {unknown[0]!r}.")
    return tuple(name for name in METHODS if name in wanted)


def _fashion(given: Path | None, data_dir: str | Path | None) -> Path | None:
    """Return Fashion-MNIST's folder, its file once read, so that damage is known before work."""
    inside = Path(data_dir) / "fashion-mnist" if data_dir else None
    folder = fashion_folder(given or (inside if inside and inside.is_dir() else None))
    if folder is not None:
        fashion(folder)
    return folder


def report(run: Run, records: list[Record]) -> Path:
    """Write tables and figures; return the Markdown file."""
    found = by_method(records)
    files = f"Figures: {run.name}_confidence.png, _histograms.png, _corruption.png."
    tables = (uncertainty_table(found), corruption_table(found), settings_table(found))
    made = Report(
        name=run.name,
        title=f"Images: {run.image_set}, what is known and what is not"
        + " (a smoke run: nothing to conclude from)" * (run.budget is QUICK),
        command=run.command,
        lead=lead(found),
        columns=COLUMNS,
        rows=main_rows(found),
        notes=[one for one in (*tables, *notes(run.budget, records), run.note, files) if one],
    )
    path = made.write(run.out)
    save_figures(found, run.out, run.name, FASHION if run.fashion else LETTERS)
    return path


def main(arguments: list[str] | None = None) -> Path:
    """Run what is missing and write the report."""
    run = parsed(arguments)
    work = partial(
        run_cell, image_set=run.image_set, budget=run.budget, fashion_folder=run.fashion,
        device=run.device,
    )  # fmt: skip
    kept = run.kept or run.out / f"{run.name}_cells.json"
    for record in forget_other_candidates(kept, METHODS, run.budget.candidates):
        print(f"run again, for its candidates are others: {record['method']} {record['split']}")
    if run.report_alone:
        done = {Cell(r["data"], r["split"], r["method"]): r for r in read_records(kept)}
        records = [done[cell] for cell in run.cells if cell in done]
    else:
        records = run_cells(work, run.cells, kept, executor=run.workers)
    path = report(run, records)
    print(path)
    return path


if __name__ == "__main__":
    main()
