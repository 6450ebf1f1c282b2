"""Closed forms of E[φ(u)φ(v)] and E[φ'(u)φ'(v)] against quadrature, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad
from torch import Tensor, nn
from torch.func import grad, vmap

from bayesnn.kernels import activations
from bayesnn.kernels.activations import Expectation
from bayesnn.kernels.quadrature import quadrature
from bayesnn.networks import Cosine, Erf, Sine

SMOOTH: list[tuple[Expectation, nn.Module]] = [
    (activations.erf, Erf()),
    (activations.gelu, nn.GELU()),
    (activations.sine(1.7), Sine(frequency=1.7)),
    (activations.cosine(1.7), Cosine(frequency=1.7)),
    (activations.identity, nn.Identity()),
]
KINKED: list[tuple[Expectation, nn.Module]] = [
    (activations.relu, nn.ReLU()),
    (activations.leaky_relu(0.3), nn.LeakyReLU(0.3)),
]
variances = st.floats(0.05, 3.0)
correlations = st.floats(-0.99, 0.99)


def _moments(uu: float, vv: float, correlation: float) -> tuple[Tensor, Tensor, Tensor]:
    uv = correlation * np.sqrt(uu * vv)
    return tuple(torch.tensor([each], dtype=torch.float64) for each in (uv, uu, vv))  # type: ignore[return-value]


@pytest.mark.parametrize(("closed", "module"), SMOOTH, ids=lambda v: type(v).__name__)
@given(uu=variances, vv=variances, correlation=correlations)
def test_smooth_closed_forms_equal_quadrature(
    closed: Expectation, module: nn.Module, uu: float, vv: float, correlation: float
) -> None:
    moments = _moments(uu, vv, correlation)
    for found, expected in zip(closed(*moments), quadrature(module)(*moments), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("closed", "module"), KINKED, ids=["relu", "leaky"])
@pytest.mark.parametrize("correlation", [-0.7, 0.2, 0.95])
def test_kinked_closed_forms_equal_integrals(
    closed: Expectation, module: nn.Module, correlation: float
) -> None:
    """Integrals over the quadrants, where the activation is smooth."""
    uu, vv = 0.8, 1.7
    uv = correlation * np.sqrt(uu * vv)
    precision = np.linalg.inv(np.array([[uu, uv], [uv, vv]]))
    scale = 2 * np.pi * np.sqrt(uu * vv - uv**2)
    slope = vmap(grad(lambda x: module(x)))

    def density(v: float, u: float) -> float:
        z = np.array([u, v])
        return float(np.exp(-0.5 * z @ precision @ z) / scale)

    values = {
        sign: float(module(torch.tensor(float(sign), dtype=torch.float64))) for sign in (-1, 1)
    }
    slopes = {s: float(slope(torch.tensor([float(s)], dtype=torch.float64))) for s in (-1, 1)}
    value = derivative = 0.0
    for a in (-1, 1):
        for b in (-1, 1):
            # on a quadrant φ(u) = |u|·φ(±1)
            v_low, v_high = sorted((0.0, 12.0 * b))
            u_low, u_high = sorted((0.0, 12.0 * a))
            value += (
                values[a]
                * values[b]
                * dblquad(lambda v, u: abs(u * v) * density(v, u), u_low, u_high, v_low, v_high)[0]
            )
            derivative += slopes[a] * slopes[b] * dblquad(density, u_low, u_high, v_low, v_high)[0]
    found = closed(*_moments(uu, vv, correlation))
    assert float(found[0]) == pytest.approx(value, rel=1e-6)
    assert float(found[1]) == pytest.approx(derivative, rel=1e-6)


@pytest.mark.parametrize(
    "closed", [each for each, _ in SMOOTH + KINKED], ids=lambda c: getattr(c, "__name__", "leaky")
)
def test_edges_are_finite_with_finite_derivatives(closed: Expectation) -> None:
    """Equal points, opposite points, points that nearly agree, zero variance, large variance."""
    uu = torch.tensor([1.0, 1.0, 1.0, 0.0, 1e6], dtype=torch.float64, requires_grad=True)
    uv = uu.detach() * torch.tensor([1.0, -1.0, 1 - 1e-16, 1.0, 1.0], dtype=torch.float64)
    uv.requires_grad_()
    vv = uu.detach().clone().requires_grad_()
    value, slope = closed(uv, uu, vv)
    assert bool(value.isfinite().all() and slope.isfinite().all())
    for each in torch.autograd.grad(value.sum(), (uv, uu, vv), allow_unused=True):
        assert each is None or bool(each[:4].isfinite().all())
