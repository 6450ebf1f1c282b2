"""Proper scores of Gaussian predictions: negative log likelihood and CRPS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def nll_gaussian(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> Tensor:
    """Mean negative log likelihood of y under independent Gaussians, in nats a point.

    ½ log(2πσ²) + ½ (y − m)²/σ², averaged over all points; lower is better.

    Args:
        y: what was observed, of any shape.
        mean: m, like `y` or a single number.
        std: σ, above 0, like `y` or a single number; for observations it includes the noise.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0.

    Example:
        >>> round(float(nll_gaussian([0.0], [0.0], 1.0)), 4)
        0.9189
    """
    y, mean, std = same_shaped(y=y, mean=mean, std=std)
    if not bool((std > 0).all()):
        raise ValueError(
            f"std: expected values above 0, got a smallest one of {float(std.min()):.3g};"
            " a point without uncertainty has no density."
        )
    return (0.5 * math.log(2 * math.pi) + std.log() + 0.5 * ((y - mean) / std).square()).mean()


def crps_gaussian(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> Tensor:
    """Mean continuous ranked probability score of independent Gaussians, in y's units.

    ∫ (F(x) − 1{y ≤ x})² dx = σ·(z(2Φ(z) − 1) + 2φ(z) − 1/√π) with z = (y − m)/σ; lower is better.
    It is less harsh on tails than the log likelihood, and equals |y − m| where σ = 0.

    Args:
        y: what was observed, of any shape.
        mean: m, like `y` or a single number.
        std: σ, at least 0, like `y` or a single number.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ below 0.

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 21.

    Example:
        >>> float(crps_gaussian([3.0], [0.0], 0.0))
        3.0
    """
    y, mean, std = same_shaped(y=y, mean=mean, std=std)
    if not bool((std >= 0).all()):
        raise ValueError(f"std: expected values of at least 0, got {float(std.min()):.3g}.")
    return (expected_distance(y - mean, std) - std / math.sqrt(math.pi)).mean()


def expected_distance(offset: Tensor, std: Tensor) -> Tensor:
    """Return E|X| for a Gaussian X: m(2Φ(z) − 1) + 2σφ(z) with z = m/σ, and |m| where σ = 0.

    Args:
        offset: m, its mean.
        std: σ, at least 0.

    Returns:
        The expected distances from 0.

    Example:
        >>> expected_distance(torch.tensor([0.0, -3.0]), torch.tensor([1.0, 0.0]))
        tensor([0.7979, 3.0000])
    """
    z = offset / std.clamp(min=torch.finfo(std.dtype).tiny)
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return offset * torch.erf(z / math.sqrt(2)) + 2 * std * density
