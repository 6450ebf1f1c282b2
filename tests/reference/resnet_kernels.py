"""NNGP and NTK of a residual ReLU network at one pair of points, number by number.

Hayou et al., 2021, arXiv 2010.12859: K_l = K_{l−1} + λ_l²(σ_b² + σ_w² E[φφ]) and
Θ_l = Θ_{l−1} + λ_l²(σ_b² + σ_w² E[φφ] + σ_w² E[φ'φ'] Θ_{l−1}).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def _relu_moments(uu: float, uv: float, vv: float) -> tuple[float, float]:
    norm = math.sqrt(uu * vv)
    angle = math.acos(max(-1.0, min(1.0, uv / norm)))
    value = norm * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / (2 * math.pi)
    return value, (math.pi - angle) / (2 * math.pi)


def residual_relu_kernels(
    first: tuple[float, float, float],
    scales: Sequence[float],
    *,
    weight_std: float,
    bias_std: float,
) -> tuple[tuple[float, float, float], float]:
    """Return (K(u, u), K(u, v), K(v, v)) and Θ(u, v) after the last block.

    Args:
        first: K of the first layer, whose NTK is the same.
        scales: λ of each block.
        weight_std: σ_w.
        bias_std: σ_b.
    """
    uu, uv, vv = first
    theta = uv
    w2, b2 = weight_std**2, bias_std**2
    for scale in scales:
        own_u, own_v = _relu_moments(uu, uu, uu)[0], _relu_moments(vv, vv, vv)[0]
        value, slope = _relu_moments(uu, uv, vv)
        theta += scale**2 * (b2 + w2 * value + w2 * slope * theta)
        uu += scale**2 * (b2 + w2 * own_u)
        uv += scale**2 * (b2 + w2 * value)
        vv += scale**2 * (b2 + w2 * own_v)
    return (uu, uv, vv), theta
