"""NLL and CRPS of Gaussian mixtures: definitions, special cases, memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.calibration import (
    crps_gaussian,
    crps_gaussian_mixture,
    crps_samples,
    nll_gaussian,
    nll_gaussian_mixture,
)
from tests.reference.naive_sample_scores import mixture_crps, mixture_nll

SCORES = [nll_gaussian_mixture, crps_gaussian_mixture]
seeds = st.integers(0, 10_000)


def mixture(seed: int, components: int, *points: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    y = 2 * rng.normal(size=points)
    means = 2 * rng.normal(size=(components, *points))
    stds = rng.uniform(0.05, 3, size=(components, *points))
    return y, means, stds, rng.dirichlet(np.ones(components), size=points)


@given(seed=seeds, components=st.integers(1, 5))
def test_scores_are_their_definitions(seed: int, components: int) -> None:
    y, means, stds, rows = mixture(seed, components, 3)
    weights = np.moveaxis(rows, -1, 0)
    for score, naive in zip(SCORES, (mixture_nll, mixture_crps), strict=True):
        want = [naive(y[i], means[:, i], stds[:, i], weights[:, i]) for i in range(3)]
        got = float(score(y, means, stds, weights))
        assert got == pytest.approx(np.mean(want), rel=1e-6, abs=1e-7)


@given(seed=seeds)
def test_weights_of_components_hold_at_all_points(seed: int) -> None:
    y, means, stds, _ = mixture(seed, 3, 2, 4)
    weights = np.random.default_rng(seed).dirichlet(np.ones(3))
    everywhere = np.broadcast_to(weights[:, None, None], means.shape)
    for score in SCORES:
        shared = float(score(y, means, stds, weights))
        assert shared == pytest.approx(float(score(y, means, stds, everywhere)), rel=1e-12)
        equal = float(score(y, means, stds, [1 / 3] * 3))
        assert float(score(y, means, stds)) == pytest.approx(equal, rel=1e-12)
        assert equal != pytest.approx(shared)


@given(seed=seeds, components=st.integers(1, 4))
def test_one_gaussian_in_several_parts_scores_as_one(seed: int, components: int) -> None:
    y, means, stds, _ = mixture(seed, 1, 5)
    parts = (np.repeat(means, components, 0), np.repeat(stds, components, 0))
    weights = np.random.default_rng(seed).dirichlet(np.ones(components))
    for score, single in zip(SCORES, (nll_gaussian, crps_gaussian), strict=True):
        assert float(score(y, *parts, weights)) == pytest.approx(
            float(single(y, means[0], stds[0])), rel=1e-9
        )


@given(seed=seeds)
def test_components_without_weight_or_spread(seed: int) -> None:
    y, means, stds, _ = mixture(seed, 3, 4)
    for score in SCORES:
        two = float(score(y, means[:2], stds[:2], [0.3, 0.7]))
        assert float(score(y, means, stds, [0.3, 0.7, 0.0])) == pytest.approx(two, rel=1e-12)
    points = float(crps_gaussian_mixture(y, means, 0.0))
    assert points == pytest.approx(float(crps_samples(y, means)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_weights_that_were_rounded_count_as_the_exact_ones(score: Callable[..., Tensor]) -> None:
    y, means, stds, _ = mixture(0, 3, 4)
    rounded = [0.3333, 0.3333, 0.3333]
    assert float(score(y, means, stds, rounded)) == pytest.approx(float(score(y, means, stds)))


@pytest.mark.parametrize("score", SCORES)
def test_chunks_change_nothing_and_keep_memory_small(score: Callable[..., Tensor]) -> None:
    y, means, stds, _ = mixture(0, 6, 7, 5)
    whole = float(score(y, means, stds))
    for budget in (1, 6 * 6 * 8 * 4, 2**20):
        assert float(score(y, means, stds, memory_budget=budget)) == pytest.approx(whole, rel=1e-12)


def test_no_array_grows_with_the_square_of_the_components(monkeypatch: pytest.MonkeyPatch) -> None:
    import bayesnn.calibration.gaussian_mixture_scores as module

    largest = 0
    plain = module.expected_distance

    def watched(offset: Tensor, std: Tensor) -> Tensor:
        nonlocal largest
        largest = max(largest, offset.numel())
        return plain(offset, std)

    monkeypatch.setattr(module, "expected_distance", watched)
    y, means, stds, _ = mixture(0, 50, 40)
    crps_gaussian_mixture(y, means, stds)
    assert largest == 50 * 40
    largest = 0
    crps_gaussian_mixture(y, means, stds, memory_budget=6 * 50 * 8 * 10)
    assert largest == 50 * 10


@pytest.mark.parametrize("far", [40.0, 1e4])
def test_far_observations_have_a_finite_score(far: float) -> None:
    """Densities underflow there; their logarithms do not."""
    y = torch.tensor([far])
    got = float(nll_gaussian_mixture(y, torch.zeros(2, 1), 1.0))
    assert got == pytest.approx(0.5 * far**2 + 0.5 * math.log(2 * math.pi), rel=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_what_does_not_fit_is_refused(score: Callable[..., Tensor]) -> None:
    y, means = np.zeros(3), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"means: expected the shape \(members, 3\).*transpose"):
        score(y, means.T, 1.0)
    with pytest.raises(ValueError, match=r"stds: expected the shape \(2, 3\)"):
        score(y, means, np.ones(3))
    with pytest.raises(ValueError, match="stds: expected values"):
        score(y, means, -1.0)
    with pytest.raises(ValueError, match="y: expected finite"):
        score([math.nan] * 3, means, 1.0)
    with pytest.raises(ValueError, match=r"weights: expected the shape \(2,\) or \(2, 3\)"):
        score(y, means, 1.0, [1.0])
    for weights in ([0.5, 0.6], [1.5, -0.5]):
        with pytest.raises(ValueError, match="weights: expected values of at least 0 with a sum"):
            score(y, means, 1.0, weights)
    with pytest.raises(ValueError, match="memory_budget"):
        score(y, means, 1.0, memory_budget=0)


def test_a_component_without_spread_has_no_density() -> None:
    with pytest.raises(ValueError, match="no density"):
        nll_gaussian_mixture([0.0], [[0.0], [0.0]], [[1.0], [0.0]])
