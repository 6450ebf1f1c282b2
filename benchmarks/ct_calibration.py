"""Do the error bars of CT images hold the truth, and what do held-out views do for them?

    python -m benchmarks.ct_calibration [--data-dir DIR] [--side 128] [--views 60] [--slices 2]
        [--methods jackknife,mc-dropout] [--device cpu] [--workers 1] [--out DIR] [--kept FILE]
    python -m benchmarks.ct_calibration --quick                             (half a minute, no data)

Every variant once as its fit leaves it and once with error bars that views held out of the fit
correct (`held_out` = 0.1), on the same sinograms: known slices, divided into finer pixels than the
image's, projected, with noise at 40 dB. Sets: the AAPM challenge's slices (DIR/aapm_val), the head
and the abdomen of pydicom-data, random Shepp–Logan phantoms; those that are absent are left out and
named. Nothing is fitted to the truth. A cell that was run stands in FILE and is not run again.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

import ct
from bayesnn.files import atomic_write
from benchmarks.comparison.cells import Cell, Record, cell_executor, run_cells
from benchmarks.reconstruction.calibration_report import figure, report
from benchmarks.reconstruction.calibrations import variants
from benchmarks.reconstruction.images import aapm, averaged, ct_small, dicom
from benchmarks.reconstruction.scans import simulated_finer, simulated_phantoms, white
from benchmarks.reconstruction.scores import slice_scores
from benchmarks.record_file import read_records
from benchmarks.report import RESULTS, command_line

LEVELS = tuple(k / 20 for k in range(1, 20))
SNR_DB = 40.0
QUICK_SIDE, QUICK_VIEWS = 32, 24
AAPM, OTHER, SMALL, PHANTOMS = "AAPM", "head and abdomen", "CT_small", "Shepp–Logan"


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ct_calibration",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--side", type=int, default=128, help="pixels along a side")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--slices", type=int, default=2, help="of each set, at most")
    parser.add_argument("--methods", help="names, separated by commas; all without it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=cell_executor, default="1", help="processes, or ray")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the report")
    parser.add_argument("--kept", type=Path, help="file of the cells; beside the report without it")
    parser.add_argument("--quick", action="store_true", help="to see that all runs")
    parser.add_argument("--report-alone", action="store_true", help="of what is kept; run nothing")
    parser.add_argument("--note", default="", help="what else the report's readers must know")
    options = parser.parse_args(arguments)
    known = [one.name for one in variants(quick=options.quick)]
    wanted = known if options.methods is None else options.methods.split(",")
    if unknown := set(wanted) - set(known):
        parser.error(
            f"--methods: expected some of {', '.join(known)}, got {', '.join(sorted(unknown))}"
        )
    for name in ("side", "views", "slices"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected 1 or more, got {getattr(options, name)}")
    if options.side > 512 or 512 % options.side:
        parser.error(f"--side: expected a divisor of 512, got {options.side}")
    options.methods = wanted
    if options.quick:
        options.side, options.views, options.slices = QUICK_SIDE, QUICK_VIEWS, 1
    return options


def images_of(name: str, data_dir: Path | None) -> np.ndarray | None:
    """Return a set's slices, [slices, rows, columns]; None where they are not here."""
    if name == AAPM:
        there = data_dir is not None and (data_dir / "aapm_val" / "slices.npz").is_file()
        return aapm(data_dir) if there and data_dir is not None else None
    if name == OTHER:
        found = dicom(None)
        return found if len(found) else None
    return ct_small()


def run_cell(
    cell: Cell, *, data_dir: Path | None, side: int, views: int, device: str, quick: bool
) -> Record:
    """Simulate one slice's scan, reconstruct it one way and score its error bars by region."""
    images_name = cell.data.partition(",")[0]
    name, _, way = cell.method.partition(" | ")
    (variant,) = (one for one in variants(quick=quick) if one.name == name)
    if images_name == PHANTOMS:
        data = simulated_phantoms(
            side=side, slices=cell.split + 1, views=views, snr_db=SNR_DB, device=device
        )
    else:
        images = images_of(images_name, data_dir)
        if images is None:
            raise FileNotFoundError(f"{images_name}: not here any more")
        small = averaged(images[: cell.split + 1], side)
        data = simulated_finer(small, views=views, measure_rays=white(SNR_DB), device=device)
    problem = data.problems[cell.split]
    result = ct.reconstruct(
        problem.sinogram,
        data.scan,
        data.grid,
        method=variant.method(way),
        noise_std=problem.noise_std,
        first_slice=cell.split,
    )
    truth, regions = data.truth[cell.split], data.regions[cell.split]
    held = {level: _held(result, truth, level) for level in LEVELS}
    return {
        "calibration": result.metadata["calibration"],
        "settings": result.metadata["settings"],
        "regions": slice_scores(result, truth, regions),
        "curves": {
            region: [float(held[level][mask].double().mean()) for level in LEVELS]
            for region, mask in regions.items()
        },
    }


def _held(result: ct.Reconstruction, truth: torch.Tensor, level: float) -> torch.Tensor:
    lower, upper = (end.to(truth) for end in result.interval(level))
    return (lower <= truth) & (truth <= upper)


def main(arguments: list[str] | None = None) -> Path:
    """Run the cells that are missing; return the report."""
    options = parsed(arguments)
    sets: dict[str, int] = {}
    absent = []
    for name in (SMALL,) if options.quick else (AAPM, OTHER, PHANTOMS):
        images = None if name == PHANTOMS else images_of(name, options.data_dir)
        if images is None and name != PHANTOMS:
            absent.append(name)
        else:
            sets[name] = options.slices if images is None else min(options.slices, len(images))
    cells = [
        Cell(f"{name}, {options.side}², {options.views} views", index, f"{one.name} | {way}")
        for one in variants(quick=options.quick)
        if one.name in options.methods
        for way in one.ways
        for name, count in sets.items()
        for index in range(count)
    ]
    where = "quick" if options.quick else options.device.split(":")[0]
    stem = f"ct_calibration_{where}"
    work = partial(
        run_cell,
        data_dir=options.data_dir,
        side=options.side,
        views=options.views,
        device=options.device,
        quick=options.quick,
    )
    kept = options.kept or options.out / f"{stem}_cells.json"
    if options.report_alone:
        done = {Cell(r["data"], r["split"], r["method"]): r for r in read_records(kept)}
        records = [done[cell] for cell in cells if cell in done]
        if not records:
            raise SystemExit(f"--report-alone: expected kept cells in {kept}, found none of these.")
    else:
        records = run_cells(work, cells, kept, executor=options.workers)
    words = sys.argv[1:] if arguments is None else arguments
    unsaid = {"--report-alone", "--note", options.note}  # the numbers are the run's
    given = [word for word in words if word not in unsaid]
    made = report(
        records,
        name=stem,
        command=command_line("python", "-m", "benchmarks.ct_calibration", *given),
        side=options.side,
        views=options.views,
        absent=absent,
        note=options.note,
    )
    drawn = figure(records, LEVELS)
    if drawn is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        with atomic_write(options.out / f"{stem}.png") as path:
            drawn.savefig(path, format="png", dpi=110)
    path = made.write(options.out)
    print(path)
    return path


if __name__ == "__main__":
    main()
