"""Expectations of activations under a Gaussian: E[φ(u)φ(v)] and E[φ'(u)φ'(v)], in closed form.

u and v have mean 0, variances uu and vv and covariance uv. Sources: Williams, 1997 (erf); Cho and
Saul, 2009 (ReLU); Tsuchida, Pearce, van der Heide, Roosta, Gallagher, 2020, arXiv 2002.08517
(GELU); sine and cosine follow from the Gaussian's characteristic function.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bayesnn.kernels.derivatives import wants_derivatives

Moments = tuple[Tensor, Tensor]  # E[φφ], E[φ'φ']
Expectation = Callable[[Tensor, Tensor, Tensor], Moments]  # of (uv, uu, vv), which broadcast


def erf(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
    """Return (2/π) asin s and (4/π)/√((1 + 2uu)(1 + 2vv)(1 − s²)), for φ = erf."""
    rows, columns = (1 + 2 * uu).rsqrt(), (1 + 2 * vv).rsqrt()
    # s < 1 by (1 + 2uu)(1 + 2vv) > 4uv²; rounding may reach it at huge variances
    sine = (uv * (2 * rows) * columns).clamp(-_BELOW_ONE, _BELOW_ONE)
    slope = (1 - sine * sine).rsqrt() * ((4 / math.pi) * rows) * columns
    return torch.asin(sine) * (2 / math.pi), slope


def relu(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
    """Return √(uu·vv)(sin α + (π − α) cos α)/2π and (π − α)/2π, for φ = max(0, x) and angle α."""
    if not wants_derivatives(uv, uu, vv):
        return _relu_in_place(uv, uu, vv)
    # a square root's slope is endless at 0: at zero variance, or equal points, it must make no NaN
    norm = (uu * vv).clamp(min=_TINY).sqrt()  # of u = v it is uu, to the last digit
    cosine = (uv / norm).clamp(-1.0, 1.0)
    sine = ((1 - cosine) * (1 + cosine)).clamp(min=_TINY).sqrt()
    outside = math.pi - torch.atan2(sine, cosine)
    return norm * (sine + outside * cosine) / (2 * math.pi), outside / (2 * math.pi)


def _relu_in_place(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
    """Return the same in fewer passes over the matrix, by π − α = π/2 + asin cos α."""
    rows, columns = uu.clamp(min=_TINY).rsqrt(), vv.clamp(min=_TINY).rsqrt()
    # a cosine that rounding keeps from 1 has an angle of √rounding: equal points must reach it
    up = 1 + 8 * torch.finfo(uv.dtype).eps
    cosine = (uv * (up * rows)).mul_(columns).clamp_(-1.0, 1.0)
    sine = (1 + cosine).mul_(1 - cosine).clamp_(min=_TINY)
    sine.mul_(sine.rsqrt())  # two thirds of the time of a square root on a CPU
    outside = torch.asin(cosine).add_(math.pi / 2)
    value = sine.addcmul_(outside, cosine)
    value.mul_(uu.sqrt() / (2 * math.pi)).mul_(vv.sqrt())
    return value, outside.mul_(1 / (2 * math.pi))


def leaky_relu(slope: float) -> Expectation:
    """Return the function for φ = max(x, slope·x) = slope·x + (1 − slope)·max(0, x)."""

    def expectation(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
        value, derivative = relu(uv, uu, vv)
        rest = (1 - slope) ** 2
        # E[u max(0, v)] = uv/2, and E[φ'] of the ReLU is 1/2
        return slope * uv + rest * value, slope + rest * derivative

    return expectation


def gelu(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
    """Return both moments for φ = x·P(N(0, 1) < x), by Gaussian integration by parts."""
    a, b = 1 + uu, 1 + vv
    determinant = a * b - uv * uv
    density = determinant.rsqrt() / (2 * math.pi)  # E[p(u) p(v)], p the normal density
    both = 0.25 + torch.asin(uv * (a.rsqrt() * b.rsqrt())) / (2 * math.pi)  # E[P(u) P(v)]
    product = uu * vv
    value = density * (product + uv * uv * (1 - product) / (a * b)) + uv * both
    slope = both + density * uv * (1 / a + 1 / b + 1 / determinant)
    return value, slope


def sine(frequency: float) -> Expectation:
    """Return the function for φ = sin(ωx): E[φφ] = exp(−ω²(uu + vv)/2) sinh(ω²uv)."""

    def expectation(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
        difference, total = _waves(frequency, uv, uu, vv)
        return difference, frequency**2 * total

    return expectation


def cosine(frequency: float) -> Expectation:
    """Return the function for φ = cos(ωx): E[φφ] = exp(−ω²(uu + vv)/2) cosh(ω²uv)."""

    def expectation(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:
        difference, total = _waves(frequency, uv, uu, vv)
        return total, frequency**2 * difference

    return expectation


def identity(uv: Tensor, uu: Tensor, vv: Tensor) -> Moments:  # noqa: ARG001
    """Return uv and 1, for φ = x."""
    return uv, torch.ones_like(uv)


_TINY = 1e-36
_BELOW_ONE = 1 - 2**-53


def _waves(frequency: float, uv: Tensor, uu: Tensor, vv: Tensor) -> tuple[Tensor, Tensor]:
    """Return E[sin ωu sin ωv] and E[cos ωu cos ωv], where uv ≤ (uu + vv)/2."""
    factor = frequency**2
    covariance, mean = factor * uv, factor * (uu + vv) / 2
    near, far = torch.exp(covariance - mean), torch.exp(-covariance - mean)  # E[cos ω(u ∓ v)]
    # near − far without the cancellation of small covariances, or the overflow of large ones
    double = 2 * covariance
    up = -near * torch.expm1(-double.clamp(min=0))
    down = far * torch.expm1(double.clamp(max=0))
    return torch.where(covariance >= 0, up, down) / 2, (near + far) / 2
