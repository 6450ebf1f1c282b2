"""MC dropout as published: the loss of the public code, its range, and going on after a stop."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

import ct
from ct.inr.pixel_dropout import PixelDropoutImage
from ct.noise import estimate_noise_std
from ct.posterior.published import PublishedMCDropout, padded_side, published_mc_dropout
from ct.posterior.repeated_step import RepeatedStep
from ct.problem import Problem
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

GRID = ct.ImageGrid(shape=(14, 20), pixel_size=0.8)
SCAN = ct.ParallelBeam([k * math.pi / 9 for k in range(9)], n_detectors=30, detector_spacing=0.8)


def _truth() -> torch.Tensor:
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    return ((x - 1) ** 2 + y**2 < 9).double()


def _problem() -> Problem:
    noise = torch.randn(9, 30, generator=torch.Generator().manual_seed(5)).double()
    projector = ct.projector(GRID, SCAN)
    return Problem(
        sinogram=projector(_truth()) + 0.05 * noise,
        noise_std=torch.full((9, 30), 0.05, dtype=torch.float64),
        projector=projector, grid=GRID, scan=SCAN, keep_samples=True,
    )  # fmt: skip


def _small(**changes: float) -> PublishedMCDropout:
    small = published_mc_dropout(
        n_frequencies=20, frequency_std=3.0, width=24, depth=3, steps=12, n_samples=4,
        learning_rate=3e-3, lowest=0.0, highest=1.0,
    )  # fmt: skip
    return dataclasses.replace(small, **changes)


def test_the_side_is_that_of_the_published_padding() -> None:
    assert [padded_side((n, n)) for n in (512, 256, 100)] == [726, 364, 142]
    for n in range(3, 200, 7):
        assert math.sqrt(2) * n <= padded_side((n, n)) <= math.sqrt(2) * n + 3


def test_the_loss_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of one step, from the loss as the public code writes it: padded, over 726."""
    drawn, gradients = [], []

    def keep(self: PixelDropoutImage, keys: torch.Tensor) -> torch.Tensor:
        image = forward(self, keys)
        if image.requires_grad:
            image.retain_grad()
            drawn.append(image)
        return image

    forward = PixelDropoutImage.forward
    monkeypatch.setattr(PixelDropoutImage, "forward", keep)
    monkeypatch.setattr(
        RepeatedStep, "__call__", lambda self, draws: gradients.append(self._evaluate(draws))
    )
    problem = _problem()
    _small(steps=1, tv_weight=0.3).solve(problem, seed=0)
    gradients[0].backward()
    image = drawn[0].detach().requires_grad_()
    margin = (padded_side((14, 20)) - 20) // 2
    padded = torch.nn.functional.pad(image, (margin,) * 4)
    tv = (padded[1:] - padded[:-1]).abs().sum() + (padded[:, 1:] - padded[:, :-1]).abs().sum()
    misfit = (problem.projector(image) - problem.sinogram).square() / 0.05**2 / 2
    (misfit.mean() + 0.3 * tv / (20 + 2 * margin)).backward()
    assert drawn[0].grad is not None
    assert image.grad is not None
    assert torch.allclose(drawn[0].grad, image.grad, rtol=1e-9, atol=1e-12)


def test_training_lowers_the_misfit_and_samples_vary() -> None:
    problem = _problem()
    few, many = _small(steps=2), _small(steps=300)
    errors = [
        float((m.solve(problem, seed=0).mean - _truth()).square().mean().sqrt())
        for m in (few, many)
    ]
    assert errors[1] < 0.4 * errors[0]


def test_images_stay_within_the_range_that_is_given() -> None:
    result = _small(lowest=-2.0, highest=-1.0).solve(_problem(), seed=0)
    assert result.samples is not None
    assert bool(((result.samples > -2) & (result.samples < -1)).all())


def test_an_interrupted_run_goes_on_to_the_same_numbers() -> None:
    whole = _small().solve(_problem(), seed=1)
    checkpoint = MemoryCheckpoint(stop_after=7)
    problem = dataclasses.replace(_problem(), checkpoint=checkpoint)
    with pytest.raises(InterruptionError):
        _small().solve(problem, seed=1)
    resumed = _small().solve(problem, seed=1)
    assert torch.equal(whole.mean, resumed.mean)
    assert whole.diagnostics == resumed.diagnostics
    assert checkpoint.load() is not None


def test_little_memory_means_fewer_pixels_at_once_and_the_same_image() -> None:
    whole = _small().solve(_problem(), seed=1)
    assert whole.diagnostics["pixels_at_once"] == 14 * 20
    part = _small().solve(dataclasses.replace(_problem(), memory_budget=500_000), seed=1)
    assert 1 < int(part.diagnostics["pixels_at_once"] or 0) < 14 * 20
    assert torch.allclose(part.mean, whole.mean, atol=1e-10)


def test_memory_that_runs_out_is_said_once_and_fewer_pixels_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = PixelDropoutImage.forward

    def small(self: PixelDropoutImage, keys: torch.Tensor) -> torch.Tensor:
        if self.pixels_at_once is None or self.pixels_at_once > 100:
            raise torch.OutOfMemoryError
        return forward(self, keys)

    monkeypatch.setattr(PixelDropoutImage, "forward", small)
    with pytest.warns(RuntimeWarning, match="280 pixels") as said:
        found = _small().solve(_problem(), seed=1)
    assert len(said) == 1
    assert found.diagnostics["pixels_at_once"] == 70
    monkeypatch.setattr(PixelDropoutImage, "forward", forward)
    assert torch.allclose(found.mean, _small().solve(_problem(), seed=1).mean, atol=1e-10)


def test_the_devices_agree_to_the_precision_of_their_products(device: str) -> None:
    sinogram = _problem().sinogram.to(device)
    found = ct.reconstruct(
        sinogram.float(), SCAN, GRID, method=_small(steps=5), noise_std=0.05
    ).mean
    exact = ct.reconstruct(sinogram.cpu(), SCAN, GRID, method=_small(steps=5), noise_std=0.05).mean
    assert float((found.cpu() - exact).abs().max()) < (2e-2 if device == "cuda" else 1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dropout": 0.0}, {"dropout": 1.0}, {"steps": 0}, {"n_samples": 1}, {"width": 0},
        {"learning_rate": 0.0}, {"tv_weight": -1.0}, {"held_out": 0.6},
        {"lowest": 0.0}, {"lowest": 1.0, "highest": 1.0}, {"highest": math.nan, "lowest": 0.0},
        {"frequency_std": -1.0},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        published_mc_dropout(**wrong)


def test_divergence_is_said() -> None:
    with pytest.raises(ValueError, match="diverged"):
        _small(learning_rate=1e200, steps=4).solve(_problem(), seed=0)


def test_noise_that_is_estimated_will_do() -> None:
    problem = _problem()
    assert estimate_noise_std(problem.sinogram) > 0
    result = ct.reconstruct(problem.sinogram, SCAN, GRID, method=_small())
    assert bool(result.mean.isfinite().all())
