"""The check on held-out rays: right for exact posteriors, and it sees what is wrong."""

from __future__ import annotations

import math
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import ct
from ct.problem import Estimate, Problem, Progress, Setting

PAGE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "scans" / "held_out_rays.py"))
GRID = ct.ImageGrid((12, 12))
SCAN = ct.ParallelBeam([k * math.pi / 40 for k in range(40)], n_detectors=18)
NOISE = 0.5


@dataclass(frozen=True)
class ExactPosterior:
    """Samples of pixels N(0, 1) given the rays, by sample-then-optimise; `width` scales them."""

    width: float = 1.0
    n_samples: int = 40
    name = "exact"

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        generator = torch.Generator().manual_seed(seed % 2**31)
        pixels = torch.eye(144, dtype=torch.float64).reshape(-1, 12, 12)
        scaled = (problem.projector(pixels) / problem.noise_std).flatten(1)
        target = (problem.sinogram / problem.noise_std).flatten()
        kept = target.isfinite()
        noise = torch.randn(self.n_samples, len(target), generator=generator).double()
        prior = torch.randn(self.n_samples, 144, generator=generator).double()
        right = (target + noise) @ scaled.T + prior
        precision = scaled @ scaled.T + torch.eye(144)
        samples = torch.linalg.solve(precision, right.T).T.reshape(-1, 12, 12)
        assert bool(kept.all())
        mean = samples.mean(0)
        samples = mean + self.width * (samples - mean)
        return Estimate(mean=mean, std=samples.std(0), samples=samples)


def check(seed: int, method: ExactPosterior, *, dead: bool = False) -> Any:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(12, 12, generator=generator).double()
    clean = ct.projector(GRID, SCAN)(image)
    sinogram = clean + NOISE * torch.randn(clean.shape, generator=generator).double()
    noise_std = torch.full_like(sinogram, NOISE)
    if dead:
        sinogram[:, 9], noise_std[:, 9] = 1000.0, math.inf
    return PAGE["check_rays"](sinogram, SCAN, GRID, method=method, noise_std=noise_std, repeats=40)


def shares(method: ExactPosterior, **also: bool) -> list[torch.Tensor]:
    found = [check(seed, method, **also) for seed in range(12)]
    return [
        torch.tensor([list(getattr(one, key).values()) for one in found]).mean(0)
        for key in ("coverage", "conformal")
    ]


LEVELS = torch.tensor([0.5, 0.9, 0.95])


@pytest.mark.parametrize("dead", [False, True])
def test_an_exact_posterior_covers_at_its_levels(dead: bool) -> None:
    own, conformal = shares(ExactPosterior(), dead=dead)
    assert torch.allclose(own, LEVELS, atol=0.04)
    assert torch.allclose(conformal, LEVELS, atol=0.05)


def test_a_narrow_one_does_not_and_conformal_intervals_do() -> None:
    own, conformal = shares(ExactPosterior(width=0.1))
    assert bool((own < LEVELS - 0.03).all())
    assert torch.allclose(conformal, LEVELS, atol=0.05)


def test_views_that_see_the_same_lines_are_kept_apart_together() -> None:
    found = check(0, ExactPosterior())
    assert (found.views_fitted, found.views_calibrated, found.views_checked) == (32, 4, 4)
    generator = torch.Generator().manual_seed(0)
    sinogram = torch.randn(41, 18, generator=generator).double()
    turn = ct.ParallelBeam([k * math.pi / 20 for k in range(41)], n_detectors=18)
    found = PAGE["check_rays"](
        sinogram,
        turn,
        GRID,
        method=ExactPosterior(),
        noise_std=torch.ones_like(sinogram),
        repeats=20,
    )
    assert (found.views_calibrated, found.views_checked) == (4, 4)
    assert found.chi_squared > 0.5
