"""What a problem says of an image."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.reference.gaussian_scan import GaussianScan


def test_the_misfit_is_counted_in_each_rays_own_noise_and_over_measured_rays_alone() -> None:
    problem = GaussianScan().problem
    image = torch.rand(problem.grid.shape, generator=torch.Generator().manual_seed(0))
    off = torch.full_like(problem.sinogram, 3.0)
    noise_std = torch.ones_like(off)
    off[0], noise_std[0] = 1e6, torch.inf  # a guess, which says nothing of the image
    off[1], noise_std[1] = 8.0, 2.0
    measured = dataclasses.replace(
        problem, sinogram=problem.projector(image.to(off)) - off, noise_std=noise_std
    )
    n = problem.scan.n_views - 2
    assert measured.chi_squared_per_ray(image.to(off)) == pytest.approx(
        (16 + 9 * n) / (n + 1), rel=1e-4
    )
