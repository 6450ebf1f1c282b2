"""Conformal intervals: their definitions, and what they promise, by simulation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from bayesnn.calibration import (
    conformal_quantile,
    fit_conformal_quantiles,
    fit_jackknife_plus,
    fit_split_conformal,
)
from bayesnn.calibration.conformal import quantile_place
from bayesnn.seeds import seeded_generator
from tests.reference.naive_conformal import (
    folds_of_one_size,
    jackknife_plus_interval,
    split_interval,
)

REPEATS = 1000
levels = st.fractions(Fraction(1, 2), Fraction(49, 50), max_denominator=50)


def assert_in_band(covered: float, probability: float) -> None:
    """The share of 1,000 independent repeats lies where 99.9 % of such shares lie."""
    lower, upper = stats.binom(REPEATS, probability).interval(0.999)
    assert lower <= covered * REPEATS <= upper


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=seeded_generator(seed), dtype=torch.float64)


def test_rounding_of_a_level_costs_no_place() -> None:
    """0.28 · 50 is 14.000000000000002 in floating point."""
    assert quantile_place(49, 0.28) == 14
    for n in range(1, 200):
        assert [quantile_place(n, k / (n + 1)) for k in range(1, n + 1)] == [*range(1, n + 1)]


@given(n=st.integers(1, 60), level=levels, seed=st.integers(0, 100))
@pytest.mark.filterwarnings("ignore:level .* needs at least")
def test_split_intervals_match_their_definition(n: int, level: Fraction, seed: int) -> None:
    y, mean, std = normal(3, n, seed=seed)
    std = std.exp()
    for given_std in (None, std):
        fitted = fit_split_conformal(y, mean, given_std)
        scores = ((y - mean).abs() / (1 if given_std is None else std)).numpy()
        got = fitted.interval([2.0], None if given_std is None else 3.0, level=float(level))
        want = split_interval(scores, 2.0, 1.0 if given_std is None else 3.0, level)
        assert [float(end) for end in got] == pytest.approx(want)


@pytest.mark.parametrize(
    ("n", "level", "standardised"),
    [(19, 0.9, True), (50, 0.9, True), (100, 0.5, True), (39, 0.95, False), (9, 0.9, False)],
)
def test_split_intervals_cover_what_they_promise(n: int, level: float, standardised: bool) -> None:
    """Exactly k/(n + 1) on average, and Beta(k, n + 1 − k) over sets of held-out points."""
    std = normal(REPEATS, n + 1, seed=1).exp()
    y = 1 + std * normal(REPEATS, n + 1, seed=2)
    held, shares = [], []
    for target, scale in zip(y, std, strict=True):
        scales = (scale[:-1], scale[-1:]) if standardised else (None, None)
        fitted = fit_split_conformal(target[:-1], torch.ones(n), scales[0])
        lower, upper = fitted.interval([1.0], scales[1], level=level)
        held.append(bool(lower <= target[-1]) and bool(target[-1] <= upper))
        if standardised:  # the law of further scores is known
            half = float(upper - lower) / 2 / float(scale[-1])
            shares.append(stats.norm.cdf(half) - stats.norm.cdf(-half))
    place = math.ceil(level * (n + 1) - 1e-9)
    assert_in_band(float(np.mean(held)), place / (n + 1))
    if standardised:
        assert stats.kstest(shares, stats.beta(place, n + 1 - place).cdf).pvalue > 1e-3


@given(n=st.integers(1, 60), level=levels, seed=st.integers(0, 100))
@pytest.mark.filterwarnings("ignore:level .* needs at least")
def test_conformal_quantiles_match_their_definition(n: int, level: Fraction, seed: int) -> None:
    """Intervals hold exactly the y whose score is no larger than the quantile."""
    y, lower, width = normal(3, n, seed=seed)
    upper = lower + width.abs()
    fitted = fit_conformal_quantiles(y, lower, upper)
    scores = [max(a - t, t - b) for t, a, b in zip(y, lower, upper, strict=True)]
    bound = float(conformal_quantile(scores, float(level)))
    got = fitted.interval([0.0], [10.0], level=float(level))
    assert [float(end) for end in got] == pytest.approx([0 - bound, 10 + bound])


@pytest.mark.parametrize(("n", "level", "scale"), [(19, 0.9, 0.3), (60, 0.8, 2.0), (9, 0.9, 1.0)])
def test_conformal_quantiles_cover_what_they_promise(n: int, level: float, scale: float) -> None:
    """Whether the predicted quantiles are too narrow, right or too wide, on a skewed truth."""
    x = normal(REPEATS, n + 1, seed=3)
    y = x + torch.rand(x.shape, generator=seeded_generator(4), dtype=x.dtype).log()
    ends = np.log([(1 - level) / 2, (1 + level) / 2])
    lower, upper = x + scale * ends[0], x + scale * ends[1]
    held = []
    for t, a, b in zip(y, lower, upper, strict=True):
        fitted = fit_conformal_quantiles(t[:-1], a[:-1], b[:-1])
        low, high = fitted.interval(a[-1:], b[-1:], level=level)
        held.append(bool(low <= t[-1]) and bool(t[-1] <= high))
    assert_in_band(float(np.mean(held)), math.ceil(level * (n + 1) - 1e-9) / (n + 1))


def test_an_interval_that_shrinks_to_nothing_is_its_middle() -> None:
    fitted = fit_conformal_quantiles(torch.zeros(3), -torch.ones(3), torch.ones(3))  # scores of −1
    lower, upper = fitted.interval([0.0, 0.0], [1.0, 4.0], level=0.5)
    assert (lower.tolist(), upper.tolist()) == ([0.5, 1.0], [0.5, 3.0])


@given(n=st.integers(2, 40), level=levels, seed=st.integers(0, 100), data=st.data())
@pytest.mark.filterwarnings("ignore:level .* needs at least")
def test_jackknife_plus_matches_its_definition(
    n: int, level: Fraction, seed: int, data: st.DataObject
) -> None:
    n_folds = data.draw(st.integers(2, n))
    y, left_out = normal(2, n, seed=seed)
    members = normal(n_folds, 2, 3, seed=seed + 1)
    fold = folds_of_one_size(n, n_folds)
    fitted = fit_jackknife_plus(y, left_out, fold)
    lower, upper = fitted.interval(members, level=float(level))
    assert lower.shape == upper.shape == (2, 3)
    for place in np.ndindex(2, 3):
        at_point = members[(slice(None), *place)].numpy()[fold]
        want = jackknife_plus_interval((y - left_out).abs().numpy(), at_point, level)
        assert (float(lower[place]), float(upper[place])) == pytest.approx(want)


def test_ends_that_cross_are_both_their_middle() -> None:
    """At a level of 0.1 the upper end is the smallest sum, the lower one the largest difference."""
    fitted = fit_jackknife_plus(torch.zeros(9), torch.zeros(9), folds_of_one_size(9, 3))
    lower, upper = fitted.interval([[0.0, 7.0], [4.0, 7.0], [10.0, 7.0]], level=0.1)
    assert (lower.tolist(), upper.tolist()) == ([5.0, 7.0], [5.0, 7.0])


def test_points_in_parts_get_the_same_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    y, left_out = normal(2, 30, seed=0)
    fitted = fit_jackknife_plus(y, left_out, folds_of_one_size(30, 5))
    members = normal(5, 17, seed=1)
    whole = fitted.interval(members, level=0.9)
    monkeypatch.setattr("bayesnn.calibration.jackknife_plus._CHUNK", 60)
    for got, want in zip(fitted.interval(members, level=0.9), whole, strict=True):
        assert torch.equal(got, want)


def least_squares_by_fold(
    x: Tensor, y: Tensor, fold: NDArray, further: Tensor
) -> tuple[Tensor, Tensor]:
    """Left-out predictions [repeats, n] and members' ones at a further point [repeats, folds]."""
    left_out, members = torch.empty_like(y), []
    ridge = 1e-9 * torch.eye(x.shape[-1], dtype=x.dtype)
    for k in range(int(fold.max()) + 1):
        kept = torch.from_numpy(fold != k)
        a = x[:, kept]
        weights = torch.linalg.solve(a.mT @ a + ridge, (a.mT @ y[:, kept, None]))
        left_out[:, ~kept] = (x[:, ~kept] @ weights).squeeze(-1)
        members.append((further @ weights).flatten())
    return left_out, torch.stack(members, dim=1)


@pytest.mark.parametrize(("n_folds", "n_features"), [(20, 2), (20, 17), (4, 13)])
def test_jackknife_plus_covers_what_it_promises(n_folds: int, n_features: int) -> None:
    """Near 1 − α where members are stable, above the guarantee where they are not."""
    n, level = 20, 0.8
    x = normal(REPEATS, n + 1, n_features, seed=5)
    y = x.sum(-1) + normal(REPEATS, n + 1, seed=6) * x[..., 0]
    fold = folds_of_one_size(n, n_folds)
    left_out, members = least_squares_by_fold(x[:, :n], y[:, :n], fold, x[:, n:])
    held = []
    for i in range(REPEATS):
        fitted = fit_jackknife_plus(y[i, :n], left_out[i], fold)
        lower, upper = fitted.interval(members[i], level=level)
        held.append(bool(lower <= y[i, n]) and bool(y[i, n] <= upper))
    covered = float(np.mean(held))
    bound = fitted.guaranteed(level)
    assert bound == pytest.approx(0.6 - (0 if n_folds == n else min(1.5 / 6, 0.8 / 5)))
    assert covered * REPEATS >= stats.binom(REPEATS, bound).ppf(0.001)
    if n_features == 2 and n_folds == n:
        assert 0.8 - 0.035 < covered < 0.8 + 0.06


def test_members_that_agree_give_the_split_interval() -> None:
    """Where no fold matters, jackknife+ is split conformal, whose coverage is known exactly."""
    y = normal(25, seed=7)
    for level in (0.55, 0.9):
        fitted = fit_jackknife_plus(y, torch.zeros(25), folds_of_one_size(25, 5))
        got = fitted.interval(torch.zeros(5, 1), level=level)
        want = fit_split_conformal(y, torch.zeros(25)).interval([0.0], level=level)
        assert [float(end) for end in got] == pytest.approx([float(end) for end in want])


@pytest.mark.parametrize(("level", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_too_few_points_for_a_level_are_said_and_give_infinite_intervals(
    level: float, needed: int
) -> None:
    for n in (1, needed - 1):
        y, folds = torch.arange(float(n)), [0.0] * n
        with pytest.warns(UserWarning, match=rf"needs at least {needed} held-out points, got {n}"):
            ends = fit_split_conformal(y, folds, 1.0).interval([0.0, 1.0], 2.0, level=level)
        with pytest.warns(UserWarning, match=f"needs at least {needed} held-out points"):
            more = fit_conformal_quantiles(y, folds, folds).interval([0.0], [1.0], level=level)
        for lower, upper in (ends, more):
            assert bool(lower.isneginf().all())
            assert bool(upper.isposinf().all())
        if n > 1:
            fitted = fit_jackknife_plus(y, y + 1, folds_of_one_size(n, 2))
            with pytest.warns(UserWarning, match=f"needs at least {needed} held-out points"):
                lower, upper = fitted.interval([[0.0], [1.0]], level=level)
            assert (lower.tolist(), upper.tolist()) == ([-math.inf], [math.inf])
    y = torch.arange(float(needed))
    lower, upper = fit_split_conformal(y, torch.zeros(needed)).interval([0.0], level=level)
    assert (float(lower), float(upper)) == (-(needed - 1), needed - 1)
    lower, upper = fit_jackknife_plus(y, 0.0, folds_of_one_size(needed, 3)).interval(
        torch.zeros(3), level=level
    )
    assert (float(lower), float(upper)) == (-(needed - 1), needed - 1)


def test_device_and_dtype_follow_the_predictions(device: str) -> None:
    fitted = fit_split_conformal(np.arange(5.0), np.zeros(5))
    lower, _ = fitted.interval(torch.zeros(2, 3, device=device), level=0.5)
    assert (lower.device.type, lower.dtype, lower.shape) == (device, torch.float32, (2, 3))
    plus = fit_jackknife_plus(np.arange(4.0), np.zeros(4), [0, 0, 1, 1])
    lower, _ = plus.interval(torch.zeros(2, 3, device=device), level=0.5)
    assert (lower.device.type, lower.dtype, lower.shape) == (device, torch.float32, (3,))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="std: the fit had one, got none"):
        fit_split_conformal([0.0], [0.0], [1.0]).interval([0.0])
    with pytest.raises(ValueError, match="std: the fit had none, got one"):
        fit_split_conformal([0.0], [0.0]).interval([0.0], [1.0])
    with pytest.raises(ValueError, match="std: expected values above 0"):
        fit_split_conformal([0.0], [0.0], [0.0])
    with pytest.raises(ValueError, match=r"mean: expected the shape \(2,\)"):
        fit_split_conformal([0.0, 1.0], [[0.0], [1.0]])
    with pytest.raises(ValueError, match="upper: expected finite"):
        fit_conformal_quantiles([0.0], [0.0], [math.nan])
    with pytest.raises(ValueError, match=r"level: expected a probability in \(0, 1\), got 95"):
        fit_conformal_quantiles([0.0], [0.0], [0.0]).interval([0.0], [1.0], level=95)
    with pytest.raises(ValueError, match="level"):
        fit_split_conformal([0.0], [0.0]).interval([0.0], level=0.0)
    for fold in ([0, 0, 0], [0, 2, 2]):
        with pytest.raises(ValueError, match="fold: expected at least 2 folds"):
            fit_jackknife_plus([0.0, 1.0, 2.0], 0.0, fold)
    with pytest.raises(ValueError, match="fold: expected whole numbers"):
        fit_jackknife_plus([0.0, 1.0], 0.0, [0.0, 0.5])
    with pytest.raises(ValueError, match=r"fold: expected the shape \(2,\) of y"):
        fit_jackknife_plus([0.0, 1.0], 0.0, [0, 1, 1])
    fitted = fit_jackknife_plus([0.0, 1.0], 0.0, [0, 1])
    with pytest.raises(ValueError, match="members: expected 2 rows, one a fold, got 3"):
        fitted.interval([[0.0], [0.0], [0.0]], level=0.5)
    with pytest.raises(ValueError, match="level"):
        fitted.guaranteed(1.0)
