"""Conjugate gradients for several right-hand sides, whose stated residuals are the true ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive

Map: TypeAlias = Callable[[Tensor], Tensor]
"""[batch, n] to [batch, n], linear, symmetric and positive definite in each item."""

_RENEW = 50  # iterations after which the residual is computed anew: single precision drifts
_LOOK = 5  # iterations between two looks at the residuals: a look waits for the device
_NO_GAIN = 0.8  # of the best true residual: a renewal that leaves more has met the rounding error


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What the iteration gave.

    Attributes:
        values: x, one a right-hand side.
        residual: √(rᵀM⁻¹r / bᵀM⁻¹b) with r = b − Hx computed from x.
        iterations: how many were done.
    """

    values: Float[Tensor, "batch n"]
    residual: Float[Tensor, " batch"]
    iterations: int


def conjugate_gradients(
    apply: Map,
    right: Float[Tensor, "batch n"],
    *,
    start: Float[Tensor, "batch n"] | None = None,
    precondition: Map | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
) -> Solution:
    """Solve H x = b for several b at once.

    The recursion's residual drifts away from b − Hx, in single precision soon. So it is computed
    anew every 50 iterations, and whenever the recursion claims to be done. Then the iteration goes
    on until the true one is below the tolerance, or, started anew, no longer falls. A solution that
    is done stays as it is.

    Args:
        apply: H.
        right: b.
        start: where to begin; zero if None.
        precondition: M⁻¹, an approximation of H⁻¹; None for the identity.
        tolerance: on √(rᵀM⁻¹r / bᵀM⁻¹b).
        max_iterations: where to stop regardless.

    Returns:
        Solutions with their true residuals.

    Raises:
        ValueError: a tolerance or a count that is not positive.

    Source:
        M. Hestenes, E. Stiefel, Methods of conjugate gradients for solving linear systems, 1952.

    Example:
        >>> H = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> found = conjugate_gradients(lambda x: x @ H, torch.tensor([[3.0, 4.0]]))
        >>> found.values.round(decimals=3)
        tensor([[1., 1.]])
    """
    check_positive(tolerance, "tolerance")
    check_count(max_iterations, "max_iterations")
    precondition = precondition or (lambda r: r)
    solution = torch.zeros_like(right) if start is None else start.clone()
    residual = right.clone() if start is None else right - apply(solution)
    # a right-hand side of zeros has the solution zero, from any start
    size = _dot(right, precondition(right)).clamp(min=torch.finfo(right.dtype).tiny)
    goal = tolerance**2 * size
    scaled = precondition(residual)
    direction, energy = scaled, _dot(residual, scaled)
    best, done = energy, 0
    while done < max_iterations and bool((energy > goal).any()):
        claimed = False
        for _ in range(min(_RENEW, max_iterations - done)):
            image = apply(direction)
            curvature = _dot(direction, image)
            # what is done, or has met its rounding error, must not be divided by zero
            going = (energy > goal) & (curvature > 0)
            step = torch.where(going, energy / curvature, 0.0)[:, None]
            solution = torch.addcmul(solution, step, direction)
            residual = torch.addcmul(residual, step, image, value=-1)
            scaled = precondition(residual)
            turned = _dot(residual, scaled)
            turn = torch.where(going, turned / energy, 0.0)[:, None]
            direction = torch.addcmul(scaled, turn, direction)
            energy = torch.where(going, turned, energy)
            done += 1
            if done % _LOOK == 0 and not bool((energy > goal).any()):
                claimed = True
                break
        residual = right - apply(solution)
        scaled = precondition(residual)
        energy = _dot(residual, scaled)
        if claimed:
            if not bool(((energy > goal) & (energy < _NO_GAIN**2 * best)).any()):
                break
            direction = scaled
        best = torch.minimum(best, energy)
    return Solution(values=solution, residual=(energy / size).sqrt(), iterations=done)


def _dot(a: Float[Tensor, "batch n"], b: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
    product: Tensor = torch.linalg.vecdot(a, b)
    return product
