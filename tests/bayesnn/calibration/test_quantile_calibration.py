"""Quantile calibration, probability integral transforms and sharpness."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from bayesnn.calibration import (
    pit_gaussian,
    pit_gaussian_mixture,
    pit_samples,
    quantile_calibration_error,
    sharpness,
)
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator
from tests.reference.naive_sample_scores import mixture_cdf

seeds = st.integers(0, 10_000)
LEVELS = np.arange(1, 20) / 20


def uniform_distance(u: Tensor) -> float:
    """Return the Kolmogorov–Smirnov distance from evenness."""
    return float(stats.kstest(u.flatten().numpy(), "uniform").statistic)


@given(seed=seeds, n=st.integers(1, 20), k=st.integers(1, 6))
def test_the_error_is_its_definition(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    y, levels = rng.normal(size=(n, 2)).round(1), rng.uniform(0.01, 0.99, k)
    quantiles = np.sort(rng.normal(size=(k, n, 2)).round(1), 0)[levels.argsort().argsort()]
    want = np.mean([abs(np.mean(y <= q) - t) for q, t in zip(quantiles, levels, strict=True)])
    assert float(quantile_calibration_error(y, quantiles, levels)) == pytest.approx(want, rel=1e-12)


def gaussian_quantiles(y: NDArray, mean: float, std: float) -> NDArray:
    return np.broadcast_to(stats.norm(mean, std).ppf(LEVELS)[:, None], (len(LEVELS), len(y)))


def test_the_truth_scores_nothing_and_errors_what_they_are() -> None:
    y = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert float(quantile_calibration_error(y, gaussian_quantiles(y, 0, 1), LEVELS)) < 1e-4
    want = np.mean(np.abs(stats.norm.cdf(0.5 + stats.norm.ppf(LEVELS)) - LEVELS))
    shifted = float(quantile_calibration_error(y, gaussian_quantiles(y, 0.5, 1), LEVELS))
    assert shifted == pytest.approx(want, abs=1e-4)
    narrow = float(quantile_calibration_error(y, gaussian_quantiles(y, 0, 1e-9), LEVELS))
    assert narrow == pytest.approx(np.mean(np.abs(0.5 - LEVELS)), abs=1e-4)


def test_n_points_of_the_truth_score_the_bias_that_is_stated() -> None:
    n = 400
    y = np.random.default_rng(0).normal(size=(300, n))
    found = [quantile_calibration_error(row, gaussian_quantiles(row, 0, 1), LEVELS) for row in y]
    bias = np.mean(np.sqrt(2 * LEVELS * (1 - LEVELS) / (np.pi * n)))
    assert np.mean(found) == pytest.approx(bias, rel=0.06)
    fine = (np.arange(10_000) + 0.5) / 10_000
    assert np.mean(np.sqrt(2 * fine * (1 - fine) / np.pi)) == pytest.approx(0.31, abs=0.005)


def test_quantiles_of_a_predictive_and_levels_in_any_order() -> None:
    post = Predictive(mean=torch.zeros(50), epistemic_variance=torch.ones(50), noise_variance=0.0)
    y = torch.randn(50, generator=seeded_generator(0))
    for levels in (LEVELS, LEVELS[::-1].copy()):
        quantiles = torch.stack([post.quantile(float(t)) for t in levels])
        want = float(quantile_calibration_error(y, gaussian_quantiles(y.numpy(), 0, 1), LEVELS))
        got = float(quantile_calibration_error(y, quantiles, levels))
        assert got == pytest.approx(want, abs=1e-6)


@given(seed=seeds, components=st.integers(1, 4))
def test_transforms_are_distribution_functions(seed: int, components: int) -> None:
    rng = np.random.default_rng(seed)
    y, means = rng.normal(size=(2, 3)), rng.normal(size=(components, 2, 3))
    stds, weights = rng.uniform(0.1, 2, means.shape), rng.dirichlet(np.ones(components))
    got = pit_gaussian(y, means[0], stds[0])
    assert got.flatten().tolist() == pytest.approx(
        stats.norm.cdf(y, means[0], stds[0]).ravel().tolist(), rel=1e-12
    )
    mixed = pit_gaussian_mixture(y, means, stds, weights)
    assert mixed.shape == y.shape
    for i in np.ndindex(2, 3):
        want = mixture_cdf(y[i], means[:, *i], stds[:, *i], weights)
        assert float(mixed[i]) == pytest.approx(want, rel=1e-12)
    equal = pit_gaussian_mixture(y, means, stds, [1 / components] * components)
    torch.testing.assert_close(pit_gaussian_mixture(y, means, stds), equal)


@pytest.mark.parametrize("components", [3, 10, 49])
def test_no_transform_exceeds_1_where_weights_do_by_rounding(components: int) -> None:
    top = pit_gaussian_mixture(torch.full((1,), 9.0), torch.zeros(components, 1), 1.0)
    assert float(top) == pytest.approx(1, abs=1e-6)
    assert float(top) <= 1


@pytest.mark.parametrize("m", [1, 3, 50])
def test_ranks_of_one_more_sample_are_even(m: int) -> None:
    """However few the samples are, and though half of them are ties at 0."""
    n = 20_000
    draws = torch.randn(m + 1, n, generator=seeded_generator(0, m)).clamp(min=0)
    critical = 1.63 / math.sqrt(n)  # the 99 % point
    u = pit_samples(draws[0], draws[1:], seed=3)
    assert uniform_distance(u) < critical
    assert uniform_distance(pit_samples(0.3 + draws[0], draws[1:])) > 5 * critical


@given(seed=seeds, m=st.integers(1, 5))
def test_ranks_lie_between_the_shares_below_and_at_most(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    y, samples = rng.integers(0, 3, (2, 4)), rng.integers(0, 3, (m, 2, 4))
    u = pit_samples(y, samples, seed=seed)
    lower, upper = (samples < y).sum(0) / (m + 1), ((samples <= y).sum(0) + 1) / (m + 1)
    assert bool(((u.numpy() >= lower - 1e-6) & (u.numpy() <= upper + 1e-6)).all())
    assert torch.equal(u, pit_samples(y, samples, seed=seed))
    assert not torch.equal(u, pit_samples(y, samples, seed=seed + 1))


def test_calibrated_predictions_are_as_sharp_as_their_errors() -> None:
    std = torch.linspace(0.1, 3, 100_000, dtype=torch.float64)
    errors = std * torch.randn(100_000, generator=seeded_generator(0), dtype=torch.float64)
    assert float(sharpness(std)) == pytest.approx(float(errors.square().mean().sqrt()), rel=0.01)
    assert float(sharpness([[3.0, 4.0]])) == pytest.approx(math.sqrt(12.5))
    assert float(sharpness(7 * std)) == pytest.approx(7 * float(sharpness(std)))


@pytest.mark.parametrize("transform", [pit_gaussian, pit_samples, pit_gaussian_mixture])
def test_device_and_dtype_follow_y(transform: Callable[..., Tensor], device: str) -> None:
    y = torch.zeros(4, device=device)
    others = {pit_gaussian: (y, 1.0), pit_samples: (torch.zeros(2, 4),),
              pit_gaussian_mixture: (torch.zeros(2, 4), 1.0)}  # fmt: skip
    u = transform(y, *others[transform])
    assert (u.device.type, u.dtype, u.shape) == (device, torch.float32, (4,))


def test_what_does_not_fit_is_refused() -> None:
    y, quantiles = np.zeros(3), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"quantiles: expected the shape \(members, 3\)"):
        quantile_calibration_error(y, quantiles.T, [0.1, 0.9])
    with pytest.raises(ValueError, match="levels: expected 2, one for each"):
        quantile_calibration_error(y, quantiles, [0.1])
    for levels in ([0.0, 0.5], [0.5, 1.0], [5, 95]):
        with pytest.raises(ValueError, match=r"levels: expected probabilities in \(0, 1\)"):
            quantile_calibration_error(y, quantiles, levels)
    with pytest.raises(ValueError, match="quantiles: expected them to grow"):
        quantile_calibration_error([0.0], [[1.0], [0.0], [2.0]], [0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match="std: expected values of at least 0"):
        sharpness([-1.0])
    with pytest.raises(ValueError, match="std: expected values above 0"):
        pit_gaussian([0.0], [0.0], 0.0)
    with pytest.raises(ValueError, match="stds: expected values above 0"):
        pit_gaussian_mixture([0.0], [[0.0]], -1.0)
    with pytest.raises(ValueError, match="samples: expected the shape"):
        pit_samples([0.0], [0.0])
    with pytest.raises(ValueError, match="y: expected finite"):
        pit_samples([math.nan], [[0.0]])
