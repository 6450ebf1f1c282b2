"""Quantile maps: their definition, what they promise, and what they mend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesnn.calibration import coverage, fit_quantile_map
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator

shares = st.lists(st.integers(0, 20).map(lambda k: k / 20), min_size=1, max_size=30)


@given(pit=shares)
def test_it_is_the_empirical_distribution_function(pit: list[float]) -> None:
    fitted = fit_quantile_map(pit)
    for u in {u for u in pit if u < 1}:
        want = sum(v <= u for v in pit) / (len(pit) + 1)
        assert float(fitted.transform([u])) == pytest.approx(want, abs=1e-12)
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    mapped = fitted.transform(grid)
    assert bool((mapped.diff() > 0).all())
    torch.testing.assert_close(fitted.inverse(mapped), grid)
    knots, values = fitted.predicted.numpy(), fitted.observed.numpy()
    np.testing.assert_allclose(mapped, np.interp(grid, knots, values), atol=1e-12)


def test_observations_beyond_all_quantiles_are_kept_in_mind() -> None:
    """At 0 and 1 the map jumps by their shares."""
    fitted = fit_quantile_map([0.0, 0.0, 0.5, 1.0])
    assert fitted.transform([0.0, 1.0]).tolist() == pytest.approx([0.4, 0.8])
    assert fitted.inverse([0.1, 0.9]).tolist() == [0.0, 1.0]


def test_a_further_point_is_as_improbable_as_promised() -> None:
    """P(R(u) ≤ k/(n + 1)) = k/(n + 1) exactly, whatever the prediction."""
    n, repeats = 9, 1000
    rng = np.random.default_rng(0)
    pit = stats.norm.cdf(3 * rng.normal(size=(repeats, n + 1)) + 1)  # far from even
    mapped = [float(fit_quantile_map(row[:-1]).transform(row[-1:])) for row in pit]
    for k in (1, 5, 9):
        held = sum(value <= k / (n + 1) + 1e-12 for value in mapped)
        lower, upper = stats.binom(repeats, k / (n + 1)).interval(0.999)
        assert lower <= held <= upper


def test_it_mends_intervals_of_a_prediction_that_is_wrong() -> None:
    generator = seeded_generator(0)
    y = 1 + 2 * torch.randn(2, 20_000, generator=generator, dtype=torch.float64)
    wrong = Predictive(
        mean=torch.zeros(20_000, dtype=torch.float64),
        epistemic_variance=torch.ones(20_000, dtype=torch.float64),
        noise_variance=0.0,
    )
    fitted = fit_quantile_map(torch.special.ndtr(y[0]))
    for level in (0.5, 0.8):
        lower, upper = fitted.interval(wrong.quantile, level)
        assert float(coverage((lower, upper), y[1])) == pytest.approx(level, abs=0.012)
        half = 2 * stats.norm.ppf(0.5 + level / 2)
        assert float(lower[0]) == pytest.approx(1 - half, abs=0.1)
        assert float(upper[0]) == pytest.approx(1 + half, abs=0.1)


def test_an_even_distribution_is_left_alone() -> None:
    fitted = fit_quantile_map(torch.arange(1, 100, dtype=torch.float64) / 100)
    grid = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(fitted.transform(grid), grid)


def test_device_and_dtype_follow_the_probabilities(device: str) -> None:
    got = fit_quantile_map([0.2, 0.4]).transform(torch.full((2, 3), 0.5, device=device))
    assert (got.device.type, got.dtype, got.shape) == (device, torch.float32, (2, 3))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pit: expected probabilities in \[0, 1\]"):
        fit_quantile_map([0.5, 1.2])
    with pytest.raises(ValueError, match="pit: expected at least one value"):
        fit_quantile_map([])
    fitted = fit_quantile_map([0.5])
    with pytest.raises(ValueError, match="probability: expected probabilities"):
        fitted.transform([-0.1])
    with pytest.raises(ValueError, match="level"):
        fitted.interval(lambda q: torch.tensor(q), 1.0)
