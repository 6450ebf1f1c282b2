"""Proper scores of Gaussian predictions: negative log likelihood and CRPS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def gaussian_nll(
    mean: ArrayLike | Tensor, variance: ArrayLike | Tensor, y: ArrayLike | Tensor
) -> Tensor:
    """Mean negative log likelihood of y under independent Gaussians, in nats a point.

    ½ log(2πv) + ½ (y − m)²/v, averaged over all points; lower is better.

    Args:
        mean: m, of any shape.
        variance: v, above 0, like `mean` or a single number; for observations it includes the
            noise.
        y: what was observed, like `mean`.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, a variance not above 0.

    Example:
        >>> round(float(gaussian_nll([0.0], 1.0, [0.0])), 4)
        0.9189
    """
    mean, variance, y = same_shaped(mean=mean, variance=variance, y=y)
    if not bool((variance > 0).all()):
        raise ValueError(
            f"variance: expected values above 0, got a smallest one of {float(variance.min()):.3g};"
            " a point without uncertainty has no density."
        )
    return 0.5 * ((2 * math.pi * variance).log() + (y - mean).square() / variance).mean()


def gaussian_crps(
    mean: ArrayLike | Tensor, variance: ArrayLike | Tensor, y: ArrayLike | Tensor
) -> Tensor:
    """Mean continuous ranked probability score of independent Gaussians, in y's units.

    ∫ (F(x) − 1{y ≤ x})² dx = σ·(z(2Φ(z) − 1) + 2φ(z) − 1/√π) with z = (y − m)/σ; lower is better.
    It is less harsh on tails than the log likelihood, and equals |y − m| where σ = 0.

    Args:
        mean: m, of any shape.
        variance: σ², at least 0, like `mean` or a single number.
        y: what was observed, like `mean`.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, a variance below 0.

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 21.

    Example:
        >>> float(gaussian_crps([0.0], 0.0, [3.0]))
        3.0
    """
    mean, variance, y = same_shaped(mean=mean, variance=variance, y=y)
    if not bool((variance >= 0).all()):
        raise ValueError(
            f"variance: expected values of at least 0, got {float(variance.min()):.3g}."
        )
    std = variance.sqrt()
    error = y - mean
    z = error / std.clamp(min=torch.finfo(std.dtype).tiny)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    spread = std * (2 * density - 1 / math.sqrt(math.pi))
    return (error * torch.erf(z / math.sqrt(2)) + spread).mean()
