"""Expected calibration error: its definition and what exact posterior samples score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.calibration import coverage, ece_floor, expected_calibration_error
from bayesnn.predictive import Predictive
from tests.reference.naive_scores import calibration_error


def gaussian(n: int, scale: float) -> Predictive:
    return Predictive(
        mean=torch.zeros(n, dtype=torch.float64),
        epistemic_variance=torch.full((n,), scale**2, dtype=torch.float64),
        noise_variance=0.0,
    )


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_matches_its_definition(scale: float) -> None:
    y = np.random.default_rng(1).normal(size=97)
    post = gaussian(97, scale)

    def as_numpy(level: float) -> tuple[NDArray, NDArray]:
        lower, upper = post.interval(level)
        return lower.numpy(), upper.numpy()

    got = expected_calibration_error(post.interval, y)
    assert float(got) == pytest.approx(calibration_error(as_numpy, y), abs=1e-12)


def test_the_truth_scores_nothing_and_the_extremes_score_most() -> None:
    probability = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    y = torch.special.ndtri(probability)
    assert float(expected_calibration_error(gaussian(10_000, 1.0).interval, y)) < 2e-4
    assert float(expected_calibration_error(gaussian(10_000, 1e-6).interval, y)) > 0.474
    assert float(expected_calibration_error(gaussian(10_000, 1e6).interval, y)) > 0.474


@pytest.mark.parametrize(
    ("n_samples", "covered", "error"), [(8, 0.75, 0.099), (50, 0.916, 0.019), (200, 0.94, 0.005)]
)
def test_exact_samples_score_the_floor(n_samples: int, covered: float, error: float) -> None:
    """Sample quantiles of exact Gaussian posterior samples are too narrow, by a known amount."""
    n_points = 8_000_000 // n_samples
    generator = torch.Generator().manual_seed(n_samples)
    samples = torch.randn(n_samples, n_points, generator=generator)
    y = torch.special.ndtri((torch.arange(n_points) + 0.5) / n_points)
    ordered = samples.sort(0).values

    def interval_at(level: float) -> tuple[Tensor, Tensor]:
        ends = []
        for q in (0.5 - level / 2, 0.5 + level / 2):
            place = q * (n_samples - 1)
            k = min(int(place), n_samples - 2)
            ends.append(torch.lerp(ordered[k], ordered[k + 1], place - k))
        return ends[0], ends[1]

    np.testing.assert_allclose(interval_at(0.95)[0], np.quantile(samples, 0.025, axis=0), atol=1e-5)
    assert float(coverage(interval_at(0.95), y)) == pytest.approx(covered, abs=0.004)
    got = float(expected_calibration_error(interval_at, y))
    assert got == pytest.approx(error, abs=0.002)
    assert ece_floor(n_samples) == pytest.approx(error, rel=0.08)


def test_the_floor_is_exact_for_a_uniform_posterior() -> None:
    """Order statistics of n uniforms stand at k/(n + 1) on average."""
    n = 12
    positions = np.arange(1, n + 1) / (n + 1)
    covered = [
        np.diff(np.interp([0.5 - p / 2, 0.5 + p / 2], np.linspace(0, 1, n), positions))[0]
        for p in np.arange(0, 1, 0.05)
    ]
    want = 0.05 * np.sum(np.abs(np.array(covered) - np.arange(0, 1, 0.05)))
    assert ece_floor(n) == pytest.approx(want, rel=1e-12)


def test_one_sample_has_no_floor() -> None:
    with pytest.raises(ValueError, match="n_samples"):
        ece_floor(1)
