"""Shall an ensemble's members see noise of their own? Coverage and likelihood without calibration.

    python benchmarks/ct_ensemble_noise.py DATA [--device cuda] [--members 6] [--steps 250]
        [--out DIR]

DATA holds `aapm_val/slices.npz`. The default of `ct.ensemble(perturbed=...)` was chosen on the two
phantoms; the CT slice, averaged to 64², came afterwards.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import Tensor

import ct
from bayesnn.calibration import coverage
from benchmarks.report import RESULTS, Report

COLUMNS = (
    "image", "noise of their own", "rmse", "std, root mean square", "95 % intervals cover", "NLL",
)  # fmt: skip


def images(data: Path) -> Iterator[tuple[str, Tensor, int, float]]:
    """Yield name, image, number of views and signal-to-noise ratio in dB."""
    grid = ct.ImageGrid((32, 32))
    yield "Shepp–Logan", ct.shepp_logan(grid).image(grid).float(), 16, 35.0
    yield "Shepp–Logan, random 5", ct.shepp_logan(grid, seed=5).image(grid).float(), 16, 35.0
    slices = np.load(data / "aapm_val" / "slices.npz")["images"]
    averaged = slices[4].reshape(64, 8, 64, 8).mean((1, 3))
    yield "AAPM slice 4", torch.from_numpy(averaged).float(), 30, 40.0


def main() -> None:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = []
    for name, image, views, snr_db in images(given.data):
        grid = ct.ImageGrid((len(image), len(image)))
        angles = [k * math.pi / views for k in range(views)]
        scan = ct.ParallelBeam(angles, n_detectors=math.ceil(math.sqrt(2) * len(image)) + 1)
        clean = ct.projector(grid, scan)(image)
        noise_std = float(clean.square().mean().sqrt()) * 10 ** (-snr_db / 20)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        for perturbed in (True, False):
            method = ct.ensemble(
                n_members=given.members, steps=given.steps, perturbed=perturbed, held_out=0
            )
            result = ct.reconstruct(
                clean + noise_std * noise, scan, grid,
                method=method, noise_std=noise_std, device=given.device,
            )  # fmt: skip
            assert result.std is not None
            lower, upper = (end.cpu() for end in result.interval(0.95))
            error = result.mean.cpu() - image
            variance = result.std.cpu().square() + 1e-6
            likelihood = (2 * math.pi * variance).log() / 2 + (error.square() + 1e-6) / variance / 2
            rows.append((
                name, "yes" if perturbed else "no",
                f"{float(error.square().mean().sqrt()):.4f}",
                f"{float(variance.mean().sqrt()):.4f}",
                f"{float(coverage((lower, upper), image)):.1%}",
                f"{float(likelihood.mean()):.2f}",
            ))  # fmt: skip
            print(" | ".join(rows[-1]), flush=True)
    device = f" --device {given.device}" if given.device != "cpu" else ""
    settings = (
        f"{given.members} members of the default network, {given.steps} steps; views and noise: 16 "
        "at 35 dB for the phantoms (32²), 30 at 40 dB for the slice (64²). Nothing is calibrated."
    )
    Report(
        name="ct_ensemble_noise",
        title="Ensembles whose members see noise of their own, and ensembles that do not",
        command=f"python benchmarks/ct_ensemble_noise.py DATA{device}",
        columns=COLUMNS,
        rows=rows,
        notes=[settings],
    ).write(given.out)


if __name__ == "__main__":
    main()
