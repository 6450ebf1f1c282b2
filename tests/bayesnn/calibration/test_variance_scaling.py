"""Variance scaling: the closed form, and the least negative log likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from bayesnn.calibration import (
    fit_variance_scaling,
    fit_variance_scaling_and_floor,
    nll_gaussian,
)
from bayesnn.seeds import seeded_generator


def drawn(
    n: int, *, factor: float = 1.0, floor: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, mean and a std for which y's own is √(factor²·std² + floor²)."""
    generator = seeded_generator(seed)
    mean, z = torch.randn(2, n, generator=generator, dtype=torch.float64)
    std = torch.randn(n, generator=generator, dtype=torch.float64).mul(1.5).exp()
    return mean + z * (factor**2 * std**2 + floor**2).sqrt(), mean, std


@given(n=st.integers(1, 30), seed=st.integers(0, 100), factor=st.floats(0.1, 10))
def test_the_factor_is_the_root_mean_square_of_standardised_errors(
    n: int, seed: int, factor: float
) -> None:
    y, mean, std = drawn(n, factor=factor, seed=seed)
    fitted = fit_variance_scaling(y, mean, std)
    points = zip(y.tolist(), mean.tolist(), std.tolist(), strict=True)
    want = np.sqrt(np.mean([((a - b) / c) ** 2 for a, b, c in points]))
    assert fitted.factor == pytest.approx(want, rel=1e-12)
    assert fitted.floor == 0
    best = float(nll_gaussian(y, mean, fitted.transform(std)))
    for other in (0.99, 1.01):
        assert best < float(nll_gaussian(y, mean, other * fitted.factor * std))


@settings(max_examples=10)
@given(seed=st.integers(0, 200), factor=st.floats(0, 4), floor=st.floats(0, 4))
def test_factor_and_floor_have_the_least_negative_log_likelihood(
    seed: int, factor: float, floor: float
) -> None:
    """No start of a general optimiser does better, nor do the two ends."""
    y, mean, std = drawn(40, factor=factor + 0.05, floor=floor, seed=seed)
    fitted = fit_variance_scaling_and_floor(y, mean, std)
    best = float(nll_gaussian(y, mean, fitted.transform(std)))

    def cost(logs: np.ndarray) -> float:
        factor, floor = np.exp(logs)
        return float(nll_gaussian(y, mean, (factor**2 * std**2 + floor**2).sqrt()))

    for start in ([0.0, 0.0], [1.0, -3.0], [-3.0, 1.0]):
        peer = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12})
        assert best <= peer.fun + 1e-9
    alone = fit_variance_scaling(y, mean, std).transform(std)
    assert best <= float(nll_gaussian(y, mean, alone)) + 1e-12
    assert best <= float(nll_gaussian(y, mean, (y - mean).square().mean().sqrt())) + 1e-12


def test_the_deeper_of_two_minima_is_found() -> None:
    """Standard deviations over 13 orders of magnitude, with errors to match some of them."""
    std = torch.tensor([0.09, 2.3e-9, 6e4, 2e3], dtype=torch.float64)
    y, mean = torch.tensor([0.38, 20.5, 200.5, 605.5], dtype=torch.float64), torch.zeros(4)
    fitted = fit_variance_scaling_and_floor(y, mean, std)
    best = float(nll_gaussian(y, mean, fitted.transform(std)))
    for floor in torch.logspace(-12, 8, 4001, dtype=torch.float64):
        shape = std.hypot(floor)
        factor = (y / shape).square().mean().sqrt()
        assert best <= float(nll_gaussian(y, mean, factor * shape)) + 1e-9


def test_true_factor_and_floor_are_found() -> None:
    fitted = fit_variance_scaling_and_floor(*drawn(40_000, factor=2.0, floor=0.5))
    assert fitted.factor == pytest.approx(2, rel=0.03)
    assert fitted.floor == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("ratio", [1e-5, 1e-2, 1.0, 1e2, 1e5])
def test_floors_far_below_and_above_all_deviations_are_found(ratio: float) -> None:
    """Errors of exactly the size that is claimed: no other pair has so small a cost."""
    std = torch.linspace(0.5, 2, 50, dtype=torch.float64)
    errors = 3 * (std.square() + ratio).sqrt()
    fitted = fit_variance_scaling_and_floor(errors, torch.zeros_like(errors), std)
    torch.testing.assert_close(fitted.transform(std), errors, rtol=1e-6, atol=0.0)
    assert (fitted.factor, fitted.floor) == pytest.approx((3, 3 * ratio**0.5), rel=2e-2)


def test_where_no_floor_helps_there_is_none() -> None:
    y, mean, std = drawn(1000, factor=2.0)
    y = mean + 2 * std * (y - mean).sign()  # exactly as large as 2σ
    with_floor = fit_variance_scaling_and_floor(y, mean, std)
    assert with_floor.floor == 0
    assert with_floor.factor == pytest.approx(2, rel=1e-9)


def test_a_point_that_is_far_too_sure_does_not_blow_up_the_rest() -> None:
    y, mean, std = drawn(200, factor=1.0)
    std = torch.ones_like(std)
    y = mean + torch.randn(200, generator=seeded_generator(3), dtype=torch.float64)
    std[0], y[0] = 1e-4, mean[0] + 1
    assert fit_variance_scaling(y, mean, std).factor > 100
    held = fit_variance_scaling_and_floor(y, mean, std).transform(std)
    assert 0.8 < float(held[1]) < 1.2
    assert 0.3 < float(held[0]) < 1.2


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_units_do_not_matter(unit: float) -> None:
    y, mean, std = drawn(100, factor=0.7, floor=0.4)
    want = fit_variance_scaling_and_floor(y, mean, std).transform(std)
    got = fit_variance_scaling_and_floor(unit * y, unit * mean, unit * std).transform(unit * std)
    torch.testing.assert_close(got / unit, want, rtol=1e-6, atol=0)


def test_device_and_dtype_follow_the_std(device: str) -> None:
    fitted = fit_variance_scaling([1.0, -1.0], [0.0, 0.0], 0.5)
    got = fitted.transform(torch.ones(2, 3, device=device))
    assert (got.device.type, got.dtype, got.shape) == (device, torch.float32, (2, 3))
    assert float(got[0, 0]) == 2


@pytest.mark.parametrize("fit", [fit_variance_scaling, fit_variance_scaling_and_floor])
def test_what_does_not_fit_is_refused(fit) -> None:
    with pytest.raises(ValueError, match="std: expected values above 0, got 0"):
        fit([1.0], [0.0], [0.0])
    with pytest.raises(ValueError, match=r"mean: expected the shape \(2,\) of y"):
        fit([1.0, 2.0], [[0.0], [1.0]], 1.0)
    with pytest.raises(ValueError, match="mean: expected predictions of held-out points, which"):
        fit([1.0, 2.0], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="y: expected finite"):
        fit([float("nan")], [0.0], 1.0)
    with pytest.raises(ValueError, match="std: expected values of at least 0"):
        fit([1.0], [0.0], 1.0).transform([-1.0])
