"""Coverage, width and interval score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesnn.calibration import coverage, interval_score, mean_width
from tests.reference.naive_scores import mean_interval_score


@given(seed=st.integers(0, 1000), level=st.floats(0.05, 0.99))
def test_scores_match_their_definitions(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 5)
    lower = rng.normal(size=shape)
    upper = lower + rng.exponential(size=shape)
    y = rng.normal(size=shape)
    interval = (lower, upper)
    want = mean_interval_score(lower, upper, y, level)
    assert float(interval_score(interval, y, level)) == pytest.approx(want, rel=1e-12)
    assert float(coverage(interval, y)) == pytest.approx(np.mean((lower <= y) & (y <= upper)))
    assert float(mean_width(interval)) == pytest.approx(np.mean(upper - lower))


def test_ends_belong_to_the_interval() -> None:
    assert float(coverage(([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), [0.0, 1.0, 1.5])) == pytest.approx(
        2 / 3
    )


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_true_quantiles_have_the_smallest_expected_interval_score(level: float) -> None:
    """On a skewed truth too: both ends must be the true quantiles."""
    truth = stats.gamma(2.0)
    y = truth.ppf((np.arange(20_000) + 0.5) / 20_000)
    ends = truth.ppf([0.5 - level / 2, 0.5 + level / 2])

    def expected(lower: float, upper: float) -> float:
        return float(interval_score((np.full_like(y, lower), np.full_like(y, upper)), y, level))

    best = expected(*ends)
    for shift in ([-0.2, 0], [0.2, 0], [0, -0.2], [0, 0.2], [0.1, 0.1], [-0.1, 0.1]):
        assert expected(ends[0] + shift[0], ends[1] + shift[1]) > best + 1e-4


def test_wide_intervals_cover_and_pay_for_it() -> None:
    y = np.random.default_rng(0).normal(size=1000)
    wide = (np.full(1000, -100.0), np.full(1000, 100.0))
    exact = (np.full(1000, -1.96), np.full(1000, 1.96))
    assert float(coverage(wide, y)) == 1
    assert float(interval_score(wide, y, 0.95)) > float(interval_score(exact, y, 0.95))


def test_device_and_dtype_follow_y(device: str) -> None:
    y = torch.zeros(2, 3, device=device)
    interval = (y - 1, y + 1)
    for score in (coverage(interval, y), mean_width(interval), interval_score(interval, y, 0.9)):
        assert score.device.type == device
        assert score.dtype == torch.float32
        assert score.shape == ()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="lower end above"):
        coverage(([1.0], [0.0]), [0.5])
    with pytest.raises(ValueError, match="upper: expected the shape"):
        coverage((np.zeros(3), np.ones((3, 1))), np.zeros(3))
    with pytest.raises(ValueError, match="lower: expected finite"):
        mean_width(([math.nan], [0.0]))
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(ValueError, match="level: expected a probability"):
            interval_score(([0.0], [1.0]), [0.5], level)
