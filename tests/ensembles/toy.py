"""The toy problem of He, Lakshminarayanan and Teh, 2020: y = x sin x with a gap in the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bayesnn.networks import Erf, mlp
from tests.reference.erf_kernels import erf_mlp_kernels, gp_posterior_naive

Array = NDArray[np.float64]
NOISE = 0.1
WEIGHT_STD, BIAS_STD, DEPTH = 1.5, 0.05, 2


def toy_data(seed: int) -> tuple[Array, Array]:
    """Return X [20, 1] and y [20]."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-2, -2 / 3, 10), rng.uniform(2 / 3, 2, 10)])[:, None]
    return x, (x * np.sin(x))[:, 0] + NOISE * rng.standard_normal(20)


def toy_network(width: int) -> nn.Module:
    """Return the paper's MLP."""
    return mlp(
        in_features=1, out_features=1, width=width, depth=DEPTH, activation=Erf(),
        weight_std=WEIGHT_STD, bias_std=BIAS_STD,
    )  # fmt: skip


def toy_ntkgp(x: Array, y: Array, points: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the exact NTKGP posterior."""

    def ntk(a: Array, b: Array) -> Array:
        return erf_mlp_kernels(
            a, b, depth=DEPTH, weight_std=WEIGHT_STD, bias_std=BIAS_STD
        )[1]  # fmt: skip

    mean, covariance = gp_posterior_naive(ntk(x, x), ntk(points, x), ntk(points, points), y, NOISE)
    return mean, np.sqrt(np.diag(covariance))
