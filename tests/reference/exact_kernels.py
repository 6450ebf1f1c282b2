"""Kernels of deep networks at one pair of points in forty digits, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 40
Number = mp.mpf
Moments = Callable[[Number, Number, Number], tuple[Number, Number]]


def relu_moments(uu: Number, uv: Number, vv: Number) -> tuple[Number, Number]:
    """Return E[φφ] and E[φ'φ'] of the ReLU; where a variance is 0, the limit of zero angles."""
    norm = mp.sqrt(uu * vv)
    if norm == 0:
        return mp.mpf(0), mp.mpf(1) / 4
    angle = mp.acos(min(mp.mpf(1), uv / norm))
    value = norm * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / (2 * mp.pi)
    return value, (mp.pi - angle) / (2 * mp.pi)


def erf_moments(uu: Number, uv: Number, vv: Number) -> tuple[Number, Number]:
    """Return E[φφ] and E[φ'φ'] of the error function."""
    product = (1 + 2 * uu) * (1 + 2 * vv)
    value = 2 / mp.pi * mp.asin(2 * uv / mp.sqrt(product))
    return value, 4 / mp.pi / mp.sqrt(product - 4 * uv**2)


def sine_moments(uu: Number, uv: Number, vv: Number) -> tuple[Number, Number]:
    """Return E[φφ] and E[φ'φ'] of the sine."""
    factor = mp.exp(-(uu + vv) / 2)
    return factor * mp.sinh(uv), factor * mp.cosh(uv)


def exact_mlp_kernels(
    moments: Moments,
    x: Sequence[float],
    z: Sequence[float],
    *,
    depth: int,
    weight_variance: float,
    bias_variance: float,
) -> tuple[Number, Number]:
    """Return K(x, z) and Θ(x, z) of a network with `depth` hidden layers."""
    w2, b2 = mp.mpf(weight_variance), mp.mpf(bias_variance)

    def first(a: Sequence[float], b: Sequence[float]) -> Number:
        total = mp.fsum(mp.mpf(i) * mp.mpf(j) for i, j in zip(a, b, strict=True))
        return w2 * total / len(a) + b2

    uu, uv, vv = first(x, x), first(x, z), first(z, z)
    theta = uv
    for _ in range(depth):
        value, slope = moments(uu, uv, vv)
        theta = b2 + w2 * value + w2 * slope * theta
        uu, vv = (b2 + w2 * moments(own, own, own)[0] for own in (uu, vv))
        uv = b2 + w2 * value
    return uv, theta
