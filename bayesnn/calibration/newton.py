"""Newton's method for smooth convex functions of few parameters, to the last digits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

STEP = 1e-8
"""The last step is shorter than this; convergence is quadratic, so what is left is its square."""
FLAT = 1e-8
"""A curvature below this is that of a function which falls for ever."""
_MOST_STEPS = 200

Derivatives = tuple[float, Float64[Tensor, " p"], Float64[Tensor, "p p"]]


class NoMinimumError(ValueError):
    """The function falls for ever in some direction."""


def newton_minimum(
    derivatives: Callable[[Tensor], Derivatives], start: Float64[Tensor, " p"]
) -> Float64[Tensor, " p"]:
    """Return where a convex function is least, by Newton's method with step halving.

    Args:
        derivatives: value, gradient and Hessian at a point; parameters are scaled such that
            curvatures are about 1 where the function is not flat.
        start: where to begin.

    Returns:
        The minimum; the last Newton step was shorter than 1e-8.

    Raises:
        NoMinimumError: none is reached, or the function is flat there.

    Example:
        >>> def bowl(x):
        ...     return float((x - 3).square().sum()), 2 * (x - 3), 2 * torch.eye(1).double()
        >>> newton_minimum(bowl, torch.zeros(1).double())
        tensor([3.], dtype=torch.float64)
    """
    here = start
    value, gradient, hessian = derivatives(here)
    for _ in range(_MOST_STEPS):
        curvatures, directions = torch.linalg.eigh(hessian)
        if float(curvatures[0]) < FLAT:
            break
        step = -directions @ ((directions.mT @ gradient) / curvatures)
        if float(step.norm()) < STEP:
            return here.add(step)
        slope, length = float(gradient @ step), 1.0
        while True:
            trial = derivatives(here + length * step)
            # near the minimum the gain drowns in rounding
            if trial[0] <= value + 1e-4 * length * slope + 1e-14 * (1 + abs(value)):
                break
            length /= 2
            if length < 1e-12:
                raise NoMinimumError("no smaller value along Newton's direction.")
        here = here + length * step
        value, gradient, hessian = trial
    raise NoMinimumError("the function falls for ever, or nearly so.")
