"""Predicted standard deviations, scaled to the size of held-out errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_GRID = 241
_BEYOND = 1e6
"""How far past the smallest and the largest variance ratios of floor to factor are looked for."""


@dataclass(frozen=True, kw_only=True)
class VarianceScaling:
    """Standard deviations √(s²σ² + f²).

    Attributes:
        factor: s.
        floor: f, below which no standard deviation falls, in y's units.
    """

    factor: float
    floor: float = 0.0

    def transform(self, std: ArrayLike | Tensor) -> Tensor:
        """Return the recalibrated standard deviations.

        Args:
            std: σ, at least 0, of any shape.

        Returns:
            √(s²σ² + f²), like `std`.

        Raises:
            ValueError: values below 0, or not finite.

        Example:
            >>> VarianceScaling(factor=2.0, floor=3.0).transform(torch.tensor([2.0]))
            tensor([5.])
        """
        (values,) = same_shaped(std=std)
        if bool((values < 0).any()):
            raise ValueError(f"std: expected values of at least 0, got {float(values.min()):.3g}.")
        return (self.factor * values).hypot(torch.full_like(values, self.floor))


def fit_variance_scaling(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> VarianceScaling:
    """Learn from held-out points by which factor standard deviations are too small.

    s² = mean of (y − m)²/σ², which minimises the mean negative log likelihood of N(m, s²σ²).

    Args:
        y: held-out observations that no part of the prediction has seen, of any shape.
        mean: m, like `y`.
        std: σ, above 0, like `y` or a single number.

    Returns:
        What scales standard deviations; its floor is 0.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0, or predictions
            without any error.

    Source:
        M. Laves, S. Ihler, J. Fast, L. Kahrs, T. Ortmaier, MIDL 2020, equation 9.

    Example:
        >>> fit_variance_scaling([3.0, -1.0], [0.0, 0.0], [1.0, 1.0]).factor ** 2
        5.0...
    """
    variance, error2 = _checked(y, mean, std)
    return VarianceScaling(factor=math.sqrt(float((error2 / variance).mean())))


def fit_variance_scaling_and_floor(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> VarianceScaling:
    """Learn from held-out points a factor and a floor for standard deviations.

    s and f minimise the mean negative log likelihood of N(m, s²σ² + f²). A few points that are far
    too sure of themselves do not blow up all others, as they do with a factor alone. Given the
    ratio ρ = f²/s² the best s² is the mean of (y − m)²/(σ² + ρ); ρ is then found on a grid from 0
    to infinity and refined to 1e-8 of itself.

    Args:
        y: held-out observations that no part of the prediction has seen, of any shape.
        mean: m, like `y`.
        std: σ, above 0, like `y` or a single number.

    Returns:
        What scales standard deviations; its factor is 0 where σ says nothing about the errors.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0, or predictions
            without any error.

    Example:
        >>> fit_variance_scaling_and_floor([3.0, -3.0, 3.0], [0.0] * 3, [1e-3, 1.0, 1e3])
        VarianceScaling(factor=0.0, floor=3.0)
    """
    variance, error2 = _checked(y, mean, std)
    cost = _profile(variance, error2)
    smallest, largest = (float(v) for v in variance.aminmax())
    grid = torch.linspace(
        math.log(smallest / _BEYOND), math.log(largest * _BEYOND), _GRID, dtype=torch.float64
    ).tolist()
    costs = [cost(math.exp(log_ratio)) for log_ratio in grid]
    best = costs.index(min(costs))
    factor_alone, floor_alone = cost(0.0), cost(math.inf)
    refined = minimize_scalar(
        lambda log_ratio: cost(math.exp(log_ratio)),
        bounds=(grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]),
        method="bounded",
        options={"xatol": 1e-8},
    )
    # an end wins unless something in between gains more than rounding
    slack = 1e-12
    if floor_alone <= min(float(refined.fun), factor_alone) + slack:
        return VarianceScaling(factor=0.0, floor=math.sqrt(float(error2.mean())))
    if factor_alone <= float(refined.fun) + slack:
        return VarianceScaling(factor=math.sqrt(float((error2 / variance).mean())))
    ratio = math.exp(float(refined.x))
    factor = math.sqrt(float((error2 / (variance + ratio)).mean()))
    return VarianceScaling(factor=factor, floor=factor * math.sqrt(ratio))


def _profile(variance: Tensor, error2: Tensor) -> Callable[[float], float]:
    # twice the least cost at each ratio of squared floor to squared factor, less a constant

    def cost(ratio: float) -> float:
        if math.isinf(ratio):
            return math.log(float(error2.mean()))
        spread = variance + ratio
        return float(spread.log().mean() + (error2 / spread).mean().log())

    return cost


def _checked(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> tuple[Tensor, Tensor]:
    """Return σ² and (y − m)², in float64 and flat."""
    y, mean, std = same_shaped(y=y, mean=mean, std=std)
    if not bool((std > 0).all()):
        raise ValueError(f"std: expected values above 0, got {float(std.min()):.3g}.")
    error2 = (y.double() - mean.double()).square().flatten()
    if not bool((error2 > 0).any()):
        raise ValueError(
            "mean: expected predictions of held-out points, which err, got the values of y."
        )
    return std.double().square().flatten(), error2
