"""NLL and CRPS of Gaussians: definitions, closed forms, propriety."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesnn.calibration import crps_gaussian, nll_gaussian
from tests.reference.naive_scores import crps_by_integration, mean_gaussian_nll

finite = st.floats(-10, 10)
spread = st.floats(0.05, 20)


@given(mean=finite, std=spread, y=finite)
def test_crps_is_the_integral_that_defines_it(mean: float, std: float, y: float) -> None:
    cdf = stats.norm(mean, std).cdf
    want = crps_by_integration(cdf, y, width=abs(y - mean) + 12 * std)
    assert float(crps_gaussian([y], [mean], [std])) == pytest.approx(want, rel=1e-5, abs=1e-6)


def test_crps_of_a_standard_gaussian_at_its_centre() -> None:
    want = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert float(crps_gaussian([0.0], [0.0], 1.0)) == pytest.approx(want, abs=1e-12)


def test_crps_without_spread_is_the_absolute_error() -> None:
    y = torch.tensor([3.0, -1.0, 0.0])
    assert float(crps_gaussian(y, torch.zeros(3), torch.zeros(3))) == pytest.approx(4 / 3)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)])
def test_nll_is_the_mean_over_all_points(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    mean, y = rng.normal(size=(2, *shape))
    variance = rng.uniform(0.1, 3, size=shape)
    got = nll_gaussian(torch.from_numpy(y), mean, variance**0.5)
    assert got.shape == ()
    assert float(got) == pytest.approx(mean_gaussian_nll(mean, variance, y), rel=1e-12)


@pytest.mark.parametrize("score", [nll_gaussian, crps_gaussian])
@given(shift=st.floats(-3, 3), factor=st.floats(0.1, 5))
def test_scores_are_proper(score: Callable[..., torch.Tensor], shift: float, factor: float) -> None:
    """No other Gaussian has a smaller expected score than the one that y comes from."""
    probability = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    y = 1 + 2 * torch.special.ndtri(probability)  # N(1, 4) as a fine grid of quantiles
    truth = score(y, torch.ones_like(y), 2.0)
    other = score(y, torch.full_like(y, 1 + shift), 2.0 * factor)
    distance = abs(shift) + abs(math.log(factor))
    assert float(other - truth) > -1e-4
    if distance > 0.2:
        assert float(other - truth) > 1e-3


def test_nll_of_the_true_gaussian_is_its_entropy() -> None:
    probability = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    y = 3 * torch.special.ndtri(probability)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 9)
    assert float(nll_gaussian(y, 0.0, 3.0)) == pytest.approx(entropy, abs=1e-3)
    crps = 3 / math.sqrt(math.pi)  # E|X − X'| / 2
    assert float(crps_gaussian(y, 0.0, 3.0)) == pytest.approx(crps, abs=1e-3)


@pytest.mark.parametrize("score", [nll_gaussian, crps_gaussian])
def test_scores_follow_dtype_and_device(score: Callable[..., torch.Tensor], device: str) -> None:
    y = torch.zeros(3, device=device)
    got = score(y, np.zeros(3, dtype=np.float32), torch.ones(3))
    assert got.device.type == device
    assert got.dtype == torch.float32


@pytest.mark.parametrize("score", [nll_gaussian, crps_gaussian])
def test_scores_refuse_what_does_not_fit(score: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"mean: expected the shape \(3,\)"):
        score(np.zeros(3), np.zeros((3, 1)), 1.0)
    with pytest.raises(ValueError, match="std: expected values"):
        score(np.zeros(3), np.zeros(3), -1.0)
    with pytest.raises(ValueError, match="mean: expected finite numbers"):
        score([0.0], [math.nan], 1.0)


def test_nll_refuses_a_point_without_density() -> None:
    with pytest.raises(ValueError, match="no density"):
        nll_gaussian([0.0, 0.0], [0.0, 0.0], [1.0, 0.0])


def test_a_deviation_whose_square_is_no_float32_still_has_a_density() -> None:
    y = torch.tensor([1e-25])
    want = 0.5 * math.log(2 * math.pi) + math.log(1e-25) + 0.5
    assert float(nll_gaussian(y, 0.0, 1e-25)) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("score", [nll_gaussian, crps_gaussian])
def test_numbers_of_pythons_own_do_not_widen_arrays(score: Callable[..., torch.Tensor]) -> None:
    y = torch.zeros(3)
    assert score(y, 0, 1.0).dtype == torch.float32
    assert score(y.double(), 0.0, 1).dtype == torch.float64
    assert score(y, np.zeros(3), 1.0).dtype == torch.float64
