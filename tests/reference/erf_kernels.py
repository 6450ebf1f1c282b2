"""Closed-form infinite-width kernels of an erf MLP, entry by entry as the papers write them.

Williams, 1997 (E[erf u erf v]); Jacot et al., 2018 (the NTK recursion); weights N(0, weight_std² /
fan_in), biases N(0, bias_std²).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _expected_erf_product(uu: float, uv: float, vv: float) -> float:
    return 2 / math.pi * math.asin(2 * uv / math.sqrt((1 + 2 * uu) * (1 + 2 * vv)))


def _expected_slope_product(uu: float, uv: float, vv: float) -> float:
    return 4 / math.pi / math.sqrt((1 + 2 * uu) * (1 + 2 * vv) - 4 * uv**2)


def erf_mlp_kernels(
    x1: Array, x2: Array, *, depth: int, weight_std: float, bias_std: float
) -> tuple[Array, Array]:
    """Return the NNGP kernel K and the NTK Θ, [n1, n2], for `depth` hidden layers."""
    nngp = np.empty((len(x1), len(x2)))
    ntk = np.empty_like(nngp)
    w2, b2 = weight_std**2, bias_std**2
    for i, u in enumerate(x1):
        for j, v in enumerate(x2):
            uu, uv, vv = (w2 * float(a @ b) / len(u) + b2 for a, b in ((u, u), (u, v), (v, v)))
            theta = uv
            for _ in range(depth):
                slope = _expected_slope_product(uu, uv, vv)
                uu, uv, vv = (
                    w2 * _expected_erf_product(uu, uu, uu) + b2,
                    w2 * _expected_erf_product(uu, uv, vv) + b2,
                    w2 * _expected_erf_product(vv, vv, vv) + b2,
                )
                theta = uv + w2 * slope * theta
            nngp[i, j], ntk[i, j] = uv, theta
    return nngp, ntk


def gp_posterior_naive(
    kernel_xx: Array, kernel_tx: Array, kernel_tt: Array, y: Array, noise_std: float
) -> tuple[Array, Array]:
    """Return mean [t] and covariance [t, t] of a GP given y, by explicit inverse."""
    inverse = np.linalg.inv(kernel_xx + noise_std**2 * np.eye(len(kernel_xx)))
    return kernel_tx @ inverse @ y, kernel_tt - kernel_tx @ inverse @ kernel_tx.T
