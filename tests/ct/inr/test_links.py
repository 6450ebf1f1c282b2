"""A link that reaches zero, from the scan to the image."""

from __future__ import annotations

import math

import torch

import ct
from ct.inr.links import clipped
from ct.inr.pixel_grid import PixelGrid

GRID = ct.ImageGrid(shape=(14, 20), pixel_size=0.8)
SCAN = ct.ParallelBeam([k * math.pi / 20 for k in range(20)], n_detectors=30, detector_spacing=0.8)


def test_air_is_exactly_zero_in_the_images_units() -> None:
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    truth = 0.02 * ((x - 1) ** 2 + y**2 < 9).double()
    noise = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    sinogram = ct.projector(GRID, SCAN)(truth) + 0.001 * noise
    method = ct.mc_dropout(
        network=PixelGrid(link=clipped), dropout=0.2, steps=60, centre_steps=60, n_samples=3,
        held_out=0,
    )  # fmt: skip
    mean = ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.001).mean
    air = truth == 0
    assert float(mean.min()) == 0
    assert float((mean[air] == 0).double().mean()) > 0.3
    assert bool((mean[~air] > 0.01).all())
