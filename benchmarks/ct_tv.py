"""Does `ct.tv` choose its weight as well as a grid search on the truth, and what does it cost?

    python benchmarks/ct_tv.py --data-dir DIR --device cuda    (2 minutes: all tables)
    python benchmarks/ct_tv.py --data-dir DIR --quick          (5 minutes on two cores: seconds)

The grid search solves each scan with ten weights on the truth's side: the best single weight for
all slices of a data set, by mean PSNR, and each slice's own. The automatic weight sees sinograms
alone. The rule (held-out views) was chosen on the slices of the AAPM challenge
(DIR/aapm_val/slices.npz, 512²) and random Shepp–Logan phantoms (256²); pydicom's CT_small and,
where pydicom-data is installed, its slices are reported untouched. Sinograms and images share the
projector, as published numbers do.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.reconstruction.images import aapm, ct_small, dicom, phantoms
from benchmarks.reconstruction.scans import Simulated, simulated
from benchmarks.reconstruction.tv_grid import highest, solve_grid
from benchmarks.report import RESULTS, Report
from ct.classical.tv import TotalVariation
from ct.noise import estimate_noise_std
from ct.problem import Estimate, Problem
from ct.slices import MEMORY_BUDGET


def timed(method: TotalVariation, problems: list[Problem]) -> tuple[list[Estimate], float]:
    """Return estimates and seconds, slices in chunks of the package's memory budget."""
    n_values = problems[0].sinogram.numel() + math.prod(problems[0].grid.shape)
    chunk = max(1, MEMORY_BUDGET // (48 * n_values))
    if problems[0].sinogram.is_cuda:
        chunk = len(problems)
        torch.cuda.synchronize()
    begin = time.perf_counter()
    estimates: list[Estimate] = []
    for first in range(0, len(problems), chunk):
        estimates += method.solve_slices(problems[first : first + chunk])
    if problems[0].sinogram.is_cuda:
        torch.cuda.synchronize()
    return estimates, time.perf_counter() - begin


def weight_row(name: str, data: Simulated, *, views: int, snr_db: float) -> tuple[str, ...]:
    """Grid search and automatic weight, with the noise given and estimated."""
    scores, weights, gaps = solve_grid(data, tolerance=3e-3)
    single, best = highest(weights, scores.mean(1))
    own = sum(highest(weights, one)[1] for one in scores.T) / scores.shape[1]
    estimates, seconds = timed(ct.tv(), data.problems)
    auto = data.psnr(torch.stack([one.mean for one in estimates])).cpu()
    unknown = [
        dataclasses.replace(
            one, noise_std=torch.full_like(one.noise_std, estimate_noise_std(one.sinogram))
        )
        for one in data.problems
    ]
    wrong = max(
        float(one.noise_std[0, 0] / two.noise_std[0, 0]) - 1
        for one, two in zip(unknown, data.problems, strict=True)
    )
    guessed, _ = timed(ct.tv(), unknown)
    estimated = data.psnr(torch.stack([one.mean for one in guessed])).cpu()
    chosen = [float(one.diagnostics["tv_weight"]) for one in estimates]
    found = [float(one.diagnostics["relative_gap"]) for one in estimates]
    return (
        name,
        str(len(data.problems)),
        str(views),
        f"{snr_db:g}",
        f"{best:.2f} ({single:.3g})",
        f"{own:.2f}",
        f"{float(auto.mean()):.2f}",
        f"{float(auto.mean()) - best:+.2f}",
        f"{min(chosen):.3g}–{max(chosen):.3g}",
        f"{float(estimated.mean()) - best:+.2f} ({100 * wrong:+.0f} %)",
        f"{float(gaps.max()):.0e}",
        f"{max(found):.0e}",
        f"{seconds / len(data.problems):.2f}",
    )


def cost_row(name: str, data: Simulated, weight: float | None, tolerance: float) -> tuple[str, ...]:
    """Seconds, iterations and distance from a converged image of one slice after the other."""
    seconds, its, gaps, difference = [], [], [], []
    for problem, truth in zip(data.problems, data.truth, strict=True):
        (found,), took = timed(ct.tv(weight=weight, tolerance=tolerance), [problem])
        used = float(found.diagnostics["tv_weight"])
        (far,), _ = timed(ct.tv(weight=used, tolerance=1e-3, max_iterations=1000), [problem])
        one = dataclasses.replace(data, truth=truth[None])
        difference.append(float((one.psnr(found.mean[None]) - one.psnr(far.mean[None])).abs()))
        seconds.append(took)
        its.append(int(found.diagnostics["iterations"]))
        gaps.append(float(found.diagnostics["relative_gap"]))
    return (
        name,
        "chosen" if weight is None else f"{weight:g}",
        f"{tolerance:g}",
        f"{np.median(seconds):.2f}",
        f"{int(np.median(its))}",
        f"{max(gaps):.1e}",
        f"{max(difference):.3f}",
    )


WEIGHT_COLUMNS = (
    "images",
    "slices",
    "views",
    "SNR (dB)",
    "best single weight: mean PSNR (λ)",
    "each slice's best",
    "automatic",
    "automatic − best single",
    "λ chosen",
    "noise estimated − best single (its error)",
    "greatest gap of the grid",
    "greatest gap",
    "seconds a slice",
)
COST_COLUMNS = (
    "images",
    "λ",
    "tolerance",
    "seconds a slice (median)",
    "iterations",
    "greatest gap",
    "greatest difference from gap 1e-3 (dB)",
)


COST_NOTE = (
    "Slices one after the other, the search for the weight included where it is chosen; 40 dB, "
    "sinograms and images share the projector."
)
WEIGHT_NOTE = (
    "PSNR in dB below each slice's greatest value, mean over slices; a grid of ten weights, and a "
    "parabola at the top. The rule was chosen on AAPM and phantoms; CT_small and pydicom-data came "
    "after."
)


def shrunk(images: np.ndarray, *, tiny: bool) -> np.ndarray:
    """Every eighth pixel of two slices, to see that all runs."""
    return images[:2, ::8, ::8].copy() if tiny else images


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("BAYESNN_DATA"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="only seconds, on two slices")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs: 64²")
    parser.add_argument("--dicom-dir", type=Path, help="folder with dicom.npz, where no package is")
    options = parser.parse_args()
    if options.data_dir is None:
        parser.error("name the data folder: --data-dir DIR, or BAYESNN_DATA")
    return options


def main() -> None:
    """Run all and write the reports."""
    options = parsed()
    real = shrunk(aapm(options.data_dir), tiny=options.tiny)
    command = f"python benchmarks/ct_tv.py --data-dir DIR --device {options.device}"
    folder = Path(tempfile.mkdtemp()) if options.tiny else RESULTS
    report = Report(
        name=f"ct_tv_seconds_{options.device.split(':')[0]}",
        title="Seconds of ct.tv",
        command=command + " --quick" * options.quick,
        columns=COST_COLUMNS,
        rows=[],
        notes=[COST_NOTE],
    )
    some = real[:2] if options.quick else real[:3]
    data = simulated(some, views=60, snr_db=40, device=options.device)
    for weight, tolerance in ((None, 0.03), (None, 0.01), (None, 0.003), (10.0, 0.01)):
        report.rows.append(cost_row("AAPM, 60 views", data, weight, tolerance))
        print(report.rows[-1], flush=True)
    print(report.write(folder))
    if options.quick:
        return
    sets: list[tuple[str, np.ndarray, list[tuple[int, float]]]] = [
        ("AAPM", real, [(60, 40), (120, 40)]),
        ("pydicom-data", dicom(options.dicom_dir), [(60, 40), (120, 40), (60, 30), (20, 40)]),
        ("CT_small", ct_small(), [(60, 40), (20, 40)]),
        ("phantoms", phantoms(), [(60, 40), (20, 40), (60, 30), (60, 50)]),
        ("AAPM, three", real[:3], [(20, 40), (60, 30), (60, 50)]),
    ]
    report = Report(
        name="ct_tv",
        title="The weight of total variation: held-out views beside a grid search on the truth",
        command=command,
        columns=WEIGHT_COLUMNS,
        rows=[],
        notes=[WEIGHT_NOTE],
    )
    for label, images, settings in sets:
        small = images if images is real or len(images) == 0 else shrunk(images, tiny=options.tiny)
        for views, snr_db in settings if len(small) else []:
            data = simulated(small, views=views, snr_db=snr_db, device=options.device)
            report.rows.append(weight_row(label, data, views=views, snr_db=snr_db))
            print(report.rows[-1], flush=True)
            report.write(folder)  # what is done is kept
    print(report.write(folder))


if __name__ == "__main__":
    main()
