"""Adaptive prediction sets: their definition, and what they promise, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from bayesnn.calibration import AdaptiveSets, adaptive_scores, conformal_quantile, fit_adaptive_sets
from bayesnn.seeds import seeded_generator
from tests.reference.naive_conformal import adaptive_set, smallest_threshold

REPEATS = 1000


def drawn(*shape: int, seed: int, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return probabilities [*shape], and classes that are drawn from them."""
    generator = seeded_generator(seed)
    p = (sharpness * torch.randn(*shape, generator=generator, dtype=torch.float64)).softmax(-1)
    y = torch.multinomial(p.flatten(0, -2), 1, generator=generator)
    return p, y.reshape(shape[:-1])


@given(n_classes=st.integers(2, 6), seed=st.integers(0, 1000), part=st.floats(0, 1))
def test_a_score_is_the_smallest_threshold_whose_set_holds_the_class(
    n_classes: int, seed: int, part: float
) -> None:
    p, _ = drawn(1, n_classes, seed=seed)
    got = adaptive_scores(p, torch.tensor([part], dtype=torch.float64))[0]
    want = [smallest_threshold(p[0].numpy(), part, k) for k in range(n_classes)]
    assert got.tolist() == pytest.approx(want, abs=1e-9)


@given(seed=st.integers(0, 1000), threshold=st.floats(0.01, 0.99))
def test_without_draws_the_classes_within_the_threshold_are_chosen(
    seed: int, threshold: float
) -> None:
    p, _ = drawn(1, 5, seed=seed)
    fitted = AdaptiveSets(
        scores=torch.tensor([threshold, threshold + 1]), n_classes=5, randomised=False
    )
    got = fitted.sets(p, level=0.3)[0].nonzero().flatten().tolist()
    assert set(got) == adaptive_set(p[0].numpy(), 0.0, float(fitted.scores[0]))


def test_a_set_ends_where_its_classes_have_the_threshold() -> None:
    """In numbers without rounding; equal probabilities come in the columns' order."""
    fitted = fit_adaptive_sets([0, 0, 0], [[0.5, 0.25, 0.25]] * 3, randomised=False)
    assert fitted.sets([[0.25, 0.25, 0.5]], level=0.5).tolist() == [[False, False, True]]
    assert fitted.sets([[0.25, 0.5, 0.25]], level=0.5).tolist() == [[False, True, False]]
    even = torch.full((1, 64), 1 / 64)
    assert adaptive_scores(even)[0].tolist() == [(k + 1) / 64 for k in range(64)]


@pytest.mark.parametrize(
    ("n", "level", "wrong", "randomised"),
    [(19, 0.9, 0.3, True), (60, 0.8, 3.0, True), (60, 0.8, 3.0, False)],
)
def test_sets_cover_what_they_promise(n: int, level: float, wrong: float, randomised: bool) -> None:
    """Randomised sets exactly k/(n + 1), others no less; also from predictions that are wrong."""
    p, y = drawn(REPEATS, n + 1, 4, seed=n)
    p = (wrong * p.log()).softmax(-1)
    held, sizes = [], []
    for i in range(REPEATS):
        fitted = fit_adaptive_sets(y[i, :n], p[i, :n], randomised=randomised, seed=i)
        chosen = fitted.sets(p[i, n:], level=level, seed=i)
        held.append(bool(chosen[0, y[i, n]]))
        sizes.append(int(chosen.sum()))
    exact = math.ceil(level * (n + 1) - 1e-9) / (n + 1)
    lower, upper = stats.binom(REPEATS, exact).interval(0.999)
    assert sum(held) >= lower
    if randomised:
        assert sum(held) <= upper
    else:
        assert min(sizes) >= 1


def test_no_draw_is_shared_by_held_out_and_further_points() -> None:
    """Equal seeds, equal probabilities: scores of held-out and further points must differ."""
    p = torch.full((50, 2), 0.5)
    fitted = fit_adaptive_sets([0] * 50, p, seed=3)
    threshold = float(conformal_quantile(fitted.scores, 0.5))
    chosen = fitted.sets(p, level=0.5, seed=3)[:, 0]
    assert not torch.equal(chosen, fitted.scores <= threshold)
    assert torch.equal(chosen, fitted.sets(p, level=0.5, seed=3)[:, 0])
    assert not torch.equal(chosen, fitted.sets(p, level=0.5, seed=4)[:, 0])
    # row by row: fewer points draw the same
    assert torch.equal(chosen[:10], fitted.sets(p[:10], level=0.5, seed=3)[:, 0])


def test_randomised_sets_are_smaller() -> None:
    p, y = drawn(4000, 10, seed=1, sharpness=2)
    sizes = [
        float(fit_adaptive_sets(y, p, randomised=r).sets(p, level=0.9).double().sum(1).mean())
        for r in (True, False)
    ]
    assert sizes[0] < sizes[1] - 0.05


@pytest.mark.parametrize("randomised", [True, False])
def test_too_few_points_for_a_level_are_said_and_give_all_classes(randomised: bool) -> None:
    p, y = drawn(18, 3, seed=0)
    fitted = fit_adaptive_sets(y, p, randomised=randomised)
    with pytest.warns(UserWarning, match="needs at least 19 held-out points, got 18: .* all"):
        assert bool(fitted.sets(p, level=0.95).all())


def test_a_least_likely_class_can_always_be_chosen() -> None:
    """Rounding must not leave it out where held-out points ask for all classes."""
    generator = np.random.default_rng(0)
    p = generator.dirichlet(np.ones(7), size=200).astype(np.float32)
    fitted = fit_adaptive_sets(p.argmin(1), p, randomised=False)
    assert bool(fitted.sets(p[::-1], level=0.5).all())
    assert bool((adaptive_scores(p).amax(1) == 1).all())


def test_a_class_of_no_probability_is_chosen_where_such_ones_come_true() -> None:
    p = torch.tensor([[1.0, 0.0]] * 5)
    assert bool(fit_adaptive_sets([1] * 5, p, randomised=False).sets(p, level=0.5).all())


@pytest.mark.parametrize("randomised", [True, False])
def test_chunks_change_nothing(randomised: bool) -> None:
    p, y = drawn(60, 5, seed=2)
    whole = fit_adaptive_sets(y, p, randomised=randomised)
    for budget in (1, 1000):
        fitted = fit_adaptive_sets(y, p, randomised=randomised, memory_budget=budget)
        assert torch.equal(fitted.scores, whole.scores)
        chosen = fitted.sets(p, level=0.8, memory_budget=budget)
        assert torch.equal(chosen, whole.sets(p, level=0.8))
    with pytest.raises(ValueError, match="memory_budget"):
        whole.sets(p, memory_budget=0)


def test_device_follows_the_probabilities(device: str) -> None:
    p, y = drawn(30, 3, seed=0)
    chosen = fit_adaptive_sets(y, p).sets(p.to(device), level=0.9)
    assert (chosen.device.type, chosen.dtype, chosen.shape) == (device, torch.bool, (30, 3))


def test_what_does_not_fit_is_refused() -> None:
    p = [[0.5, 0.5], [0.1, 0.9]]
    with pytest.raises(ValueError, match="logits need a softmax"):
        fit_adaptive_sets([0, 1], [[0.0, 3.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="y: expected 2 classes, one a row of probabilities"):
        fit_adaptive_sets([0, 1, 1], p)
    with pytest.raises(ValueError, match="y: expected classes from 0 to 1"):
        fit_adaptive_sets([0, 2], p)
    with pytest.raises(ValueError, match="y: expected whole numbers"):
        fit_adaptive_sets([0, 0.5], p)
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_adaptive_sets([0, 0], [[1.0], [1.0]])
    fitted = fit_adaptive_sets([0, 1], p)
    with pytest.raises(ValueError, match="probabilities: expected 2 columns as at the fit, got 3"):
        fitted.sets([[0.2, 0.3, 0.5]], level=0.5)
    with pytest.raises(ValueError, match="level"):
        fitted.sets(p, level=1.0)
