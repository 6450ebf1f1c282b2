"""Do classifiers of images know what they have not learnt?

    python -m benchmarks.images [--set digits|mnist] [--fashion FOLDER] [--methods A,B] [--seeds 5]
        [--budget full|reduced] [--device cpu|cuda] [--quick] [--out DIR] [--kept FILE]

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

from benchmarks.comparison.cells import Cell, run_cells
from benchmarks.image_classes.budget import FULL, QUICK, REDUCED, Budget
from benchmarks.image_classes.data import SETS, fashion, fashion_folder
from benchmarks.image_classes.figures import save_figures
from benchmarks.image_classes.letters import LIKE_DIGITS
from benchmarks.image_classes.methods import METHODS
from benchmarks.image_classes.summary import by_method
from benchmarks.image_classes.tables import (
    COLUMNS,
    corruption_table,
    failures,
    lead,
    main_rows,
    settings_table,
    uncertainty_table,
)
from benchmarks.image_classes.work import FASHION, LETTERS, run_cell
from benchmarks.record_file import Record
from benchmarks.report import RESULTS, Report

BUDGETS = {"full": FULL, "reduced": REDUCED}
NOT_AFFORDABLE = ("infinite NTKGP",)  # kernels of 28×28 images, on a CPU: hours


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one call does, checked."""

    image_set: str
    budget: Budget
    fashion: Path | None
    methods: tuple[str, ...]
    seeds: int
    device: str
    out: Path
    kept: Path

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
        """All methods on a split, then on the next: a run that is cut short has whole splits."""
        others = f"with {FASHION}" if self.fashion else "letters alone"
        data = f"{self.image_set}, {self.budget.name}, {others}"
        return [Cell(data, seed, name) for seed in range(self.seeds) for name in self.methods]


def parsed(arguments: list[str] | None) -> Run:
    """Return what is asked for; a wrong wish ends with one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"),
                        help="looked through for a folder fashion-mnist")  # fmt: skip
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's idx files")
    parser.add_argument("--set", dest="image_set", choices=SETS, default="digits")
    parser.add_argument("--methods", help=f"some of: {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    parser.add_argument("--budget", choices=BUDGETS, help="full but for MNIST on a CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="a smoke run on digits alone")
    parser.add_argument("--out", type=Path, help="folder of the report")
    parser.add_argument("--kept", type=Path, help="file of finished cells, to go on from")
    options = parser.parse_args(arguments)
    slow = options.device == "cpu" and options.image_set == "mnist"
    methods = tuple(name for name in METHODS if not (slow and name in NOT_AFFORDABLE))
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
    budget = QUICK if options.quick else BUDGETS[options.budget or ("reduced" if slow else "full")]
    return Run(
        image_set=options.image_set, budget=budget, fashion=folder, methods=methods,
        seeds=1 if options.quick else options.seeds, device=options.device, out=out,
        kept=options.kept or out / f"images_{options.image_set}_cells.json",
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
    tables = (uncertainty_table(found), corruption_table(found), settings_table(found))
    made = Report(
        name=run.name,
        title=f"Images: {run.image_set}, what is known and what is not"
        + " (a smoke run: nothing to conclude from)" * (run.budget is QUICK),
        command=run.command,
        lead=lead(found),
        columns=COLUMNS,
        rows=main_rows(found),
        notes=[one for one in (*tables, *_notes(run, records)) if one],
    )
    path = made.write(run.out)
    save_figures(found, run.out, run.name, FASHION if run.fashion else LETTERS)
    return path


def _notes(run: Run, records: list[Record]) -> list[str]:
    one = run.budget
    budget = (
        f"Every method: convnet of {one.depth} convolutions of {one.width} channels and stride 2, "
        f"{one.steps} Adam steps of {one.batch_size} images a member, at most {one.candidates} "
        f"candidate settings judged by {one.choosing} members each, {one.members} members scored "
        f"({one.draws} draws for posteriors of one network and the Gaussian process, which sees "
        f"{one.kernel_rows} training images and takes scale and noise by marginal likelihood)."
    )
    choices = (
        "Chosen on validation images (16 % of all; 20 % are test, 64 % train): the setting that "
        "tells outliers best among those within one standard error of the least NLL; the "
        "temperature; the uncertainty. Outliers: validation images with their quarters rearranged, "
        "laid over one of another class, and with random Fourier phases. No Fashion-MNIST, letter "
        "or corrupted image has a part in a choice. The family's choice is the least validation "
        "NLL of each split."
    )
    forms = (
        f"Letters that look like digits ({' '.join(LIKE_DIGITS)}) stand apart from the other "
        f"{26 - len(LIKE_DIGITS)}: they may rightly be taken for digits. For the digits' 8×8 "
        "form others are counted in blocks of 4×4 of 32×32 pixels, to whole numbers 0 … 16."
    )
    errors = (
        "± is the standard deviation over random splits by their root; differences to deep "
        "ensembles are paired, with the standard error that allows for overlapping splits (Nadeau "
        "and Bengio, 2003). ECE has 15 bins. Seconds are the sum over splits."
    )
    files = f"Figures: {run.name}_confidence.png, _histograms.png, _corruption.png."
    return [budget, choices, forms, errors, failures(records), files]


def main(arguments: list[str] | None = None) -> Path:
    """Run what is missing and write the report."""
    run = parsed(arguments)
    work = partial(
        run_cell, image_set=run.image_set, budget=run.budget, fashion_folder=run.fashion,
        device=run.device,
    )  # fmt: skip
    records = run_cells(work, run.cells, run.kept)
    path = report(run, records)
    print(path)
    return path


if __name__ == "__main__":
    main()
