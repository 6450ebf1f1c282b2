"""Expectations of any activation under a Gaussian, by two-dimensional Gauss–Hermite quadrature."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import jvp

from bayesnn.kernels.activations import Expectation, Moments
from bayesnn.kernels.derivatives import wants_derivatives

NODES = 128  # a dimension, of which about half carry weight; tanh at variance 3 reaches 1e-8
_LEAST_WEIGHT = 1e-17
_CHUNK = 2**20  # values at a time


def quadrature(activation: nn.Module, *, nodes: int = NODES) -> Expectation:
    """Return E[φφ] and E[φ'φ'] of an activation that acts element by element.

    With u = √uu (a z₁ + b z₂) and v = √vv (a z₁ − b z₂) for independent standard normals, where
    a² = (1 + ρ)/2 and b² = (1 − ρ)/2, so that u and v are treated alike. Kinks converge slowly:
    as 1/nodes, against exponentially for activations without.

    Args:
        activation: φ, without parameters.
        nodes: nodes in each of the two dimensions.

    Returns:
        The function of (uv, uu, vv).
    """

    def expectation(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
        uv, uu, vv = torch.broadcast_tensors(uv, uu, vv)  # type: ignore[no-untyped-call]
        shape = uv.shape
        size = max(1, _CHUNK // len(_rule(nodes)[0]) ** 2)
        parts = [
            _expect(activation, nodes, *piece)
            for piece in zip(
                *(torch.split(values.flatten(), size) for values in (uv, uu, vv)), strict=True
            )
        ]
        value, slope = (torch.cat(each).view(shape) for each in zip(*parts, strict=True))
        return value, slope

    return expectation


def _expect(activation: nn.Module, nodes: int, uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
    points, weights = (torch.tensor(each).to(uv) for each in _rule(nodes))
    std_u, std_v = uu.clamp(min=1e-36).sqrt(), vv.clamp(min=1e-36).sqrt()
    correlation = (uv / (std_u * std_v)).clamp(-1.0, 1.0)
    along = ((1 + correlation) / 2).clamp(min=1e-36).sqrt()
    across = ((1 - correlation) / 2).clamp(min=1e-36).sqrt()
    first = along[:, None, None] * points[:, None]
    second = across[:, None, None] * points
    u = std_u[:, None, None] * (first + second)
    v = std_v[:, None, None] * (first - second)
    (value_u, slope_u), (value_v, slope_v) = (_value_and_slope(activation, x) for x in (u, v))
    return (value_u * value_v) @ weights @ weights, (slope_u * slope_v) @ weights @ weights


def _value_and_slope(activation: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    if wants_derivatives(x):
        value, slope = jvp(activation, (x,), (torch.ones_like(x),))[:2]
        return value, slope
    # forward derivatives are counted for the whole process: threads would end one another's
    with torch.inference_mode(mode=False), torch.enable_grad():
        at = x.clone().requires_grad_()
        value = activation(at)
        (slope,) = torch.autograd.grad(value, at, torch.ones_like(value))
    return value.detach(), slope


@cache
def _rule(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    kept = weights > _LEAST_WEIGHT
    return points[kept], weights[kept]
