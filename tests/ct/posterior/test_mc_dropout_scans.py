"""MC dropout for fans, and for rays that were not measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ct
from ct.geometry import Scan
from ct.inr.feature_grid import FeatureGrid
from ct.result import Reconstruction
from tests.reference.gaussian_phantom import GaussianBlob

GRID = ct.ImageGrid(shape=(24, 24), pixel_size=0.8)
BLOB = GaussianBlob(x=2.0, y=-1.5, a=3.0, b=2.0, tilt=0.4)
TURN = 2 * math.pi * np.arange(20) / 20
FAN = {"source_origin": 60.0, "source_detector": 90.0, "detector_spacing": 1.2}
SCANS = {
    "parallel": ct.ParallelBeam(math.pi * np.arange(20) / 20, 36, 0.8),
    "flat fan": ct.FanBeam(TURN, 36, **FAN),
    "arc, source off the axis": ct.FanBeam(TURN, 40, **FAN, source_offset=1.5, curved=True),
}
NOISE = 0.05
METHOD = ct.mc_dropout(
    network=FeatureGrid(coarsest=8, finest=24, channels=4, width=16),
    steps=80,
    centre_steps=40,
    n_samples=8,
)


def measured(scan: Scan) -> Tensor:
    clean = BLOB.sinogram(scan)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return (clean + NOISE * noise).float()


def error(result: Reconstruction) -> float:
    truth = BLOB.image(GRID)
    return float((result.mean.double() - truth).norm() / truth.norm())


@pytest.mark.parametrize("name", ["flat fan", "arc, source off the axis"])
def test_a_blob_comes_back_with_error_bars_from_fans(name: str) -> None:
    scan = SCANS[name]
    result = ct.reconstruct(measured(scan), scan, GRID, method=METHOD, noise_std=NOISE)
    assert error(result) < 0.2
    assert result.std is not None
    assert bool((result.std > 0).all())
    held_out = "one scale from held-out views (2 of 20)"
    assert result.metadata["calibration"] == held_out
    # χ² of the measurements that it was fitted to
    assert result.metadata["diagnostics"][0]["chi_squared_per_ray"] < 3


def test_what_stands_at_rays_that_were_not_measured_does_not_count() -> None:
    scan = SCANS["flat fan"]
    sinogram = measured(scan)
    noise = torch.full(sinogram.shape, NOISE)
    noise[:, 20], noise[7], noise[:, :4] = math.inf, math.inf, math.inf
    result = ct.reconstruct(sinogram, scan, GRID, method=METHOD, noise_std=noise)
    assert error(result) < 0.2
    # a guess that is somewhat wrong only moves the start, through the filtered back-projection
    guess = torch.where(noise.isinf(), 1.1 * sinogram, sinogram)
    other = ct.reconstruct(guess, scan, GRID, method=METHOD, noise_std=noise)
    assert error(other) < 0.2
    numbers = result.metadata["diagnostics"][0]
    for name in ("loss", "tv_weight", "chi_squared_per_ray", "offset", "scale", "std_scale"):
        assert math.isfinite(numbers[name])
    assert result.metadata["noise_std"] == pytest.approx([NOISE])


def test_a_sinogram_that_is_mostly_missing_still_has_a_scale() -> None:
    scan = SCANS["parallel"]
    empty = torch.zeros(20, 36)
    noise = torch.full((20, 36), math.inf)
    noise[:, 10:22] = NOISE
    result = ct.reconstruct(empty, scan, GRID, method=METHOD, noise_std=noise)
    assert bool(result.mean.isfinite().all())
    assert float(result.mean.abs().max()) < NOISE
