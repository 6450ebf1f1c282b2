"""Preconditioned conjugate gradients for many right-hand sides, with residuals that are true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.gp.regression import NOT_POSITIVE_DEFINITE

REFRESH = 25  # iterations between true residuals
PATIENCE = 3  # true residuals in a row that contradict the updated ones and do not fall


@runtime_checkable
class SymmetricMap(Protocol):
    """A symmetric positive definite matrix A, with products that are fast and that are exact."""

    def times(self, v: Tensor) -> Tensor:
        """Return A·v, up to the rounding of a lower precision."""
        ...

    def times_exactly(self, v: Tensor) -> Tensor:
        """Return A·v in float64."""
        ...


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What conjugate gradients came to.

    Attributes:
        values: A⁻¹b of each column b.
        remainders: b − A·values, computed anew in float64 at the end.
        residuals: their norms over ‖b‖.
        iterations: products with A, apart from those of true residuals.
        tolerance: the relative residual that was asked for in each column.
    """

    values: Float64[Tensor, "n s"]
    remainders: Float64[Tensor, "n s"]
    residuals: Float64[Tensor, " s"]
    iterations: int
    tolerance: Float64[Tensor, " s"]

    @property
    def residual(self) -> float:
        """The largest relative residual."""
        return float(self.residuals.max())

    @property
    def converged(self) -> bool:
        """Whether every column's relative residual is within the tolerance."""
        return bool((self.residuals <= self.tolerance).all())


def conjugate_gradients(
    matrix: SymmetricMap,
    precondition: Callable[[Tensor], Tensor],
    b: Float64[Tensor, "n s"],
    *,
    tolerance: Float64[Tensor, " s"],
    max_iterations: int,
) -> Solution:
    """Solve A·x = b column by column, all columns at once, in float64.

    The residual b − A·x is updated by fast products; every 25 iterations, and where it claims to be
    small, it is computed anew by an exact one. Columns whose updated residual was wrong restart
    from the true one, which is iterative refinement. β takes the residual's change
    (Polak–Ribière), which products that are a little wrong disturb less. Source: Golub and Van
    Loan, 2013, section 11.5; van der Vorst and Ye, 2000 (residual replacement).

    Args:
        matrix: A.
        precondition: v -> P⁻¹v, symmetric positive definite.
        b: right-hand sides.
        tolerance: relative residual at which each column is done.
        max_iterations: products with A, at most.

    Returns:
        The solution so far, converged or not, with its true residuals.

    Raises:
        ValueError: A is not positive definite in this precision: a direction p has pᵀAp ≤ 0.
    """
    size = b.norm(dim=0)
    goal = tolerance * size
    x = torch.zeros_like(b)
    true = b.clone()  # residuals of all columns, exact where a column is at rest
    active = (size > 0).nonzero().squeeze(1)
    best, wrong, iterations = size.clone(), torch.zeros_like(size), 0
    run = _start(b[:, active], precondition)
    while len(active) and iterations < max_iterations:
        iterations += 1
        step = run.advance(matrix, precondition)
        x[:, active] += step
        claimed = run.residual.norm(dim=0)
        done = claimed <= goal[active]
        if not (bool(done.any()) or iterations % REFRESH == 0 or iterations == max_iterations):
            continue
        exact = b[:, active] - matrix.times_exactly(x[:, active])
        true[:, active] = exact
        norm = exact.norm(dim=0)
        off = (exact - run.residual).norm(dim=0) > 0.1 * norm
        stuck = off & (norm > 0.5 * best[active])
        wrong[active] = torch.where(stuck, wrong[active] + 1, 0.0)
        best[active] = torch.minimum(best[active], norm)
        go_on = (norm > goal[active]) & (wrong[active] < PATIENCE)
        run = run.corrected(exact, off, precondition).only(go_on)
        active = active[go_on]
    residuals = true.norm(dim=0) / size.clamp(min=torch.finfo(size.dtype).tiny)
    return Solution(
        values=x,
        remainders=true,
        residuals=residuals,
        iterations=iterations,
        tolerance=tolerance,
    )


@dataclass(kw_only=True)
class _Run:
    """The columns that are being solved: residual r, P⁻¹r, direction p and rᵀP⁻¹r."""

    residual: Tensor
    solved: Tensor
    direction: Tensor
    power: Tensor

    def advance(self, matrix: SymmetricMap, precondition: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what one step adds to x, and take it."""
        product = matrix.times(self.direction)
        curvature = (self.direction * product).sum(0)
        at_rest = self.direction.abs().amax(0) == 0
        if not bool(((curvature > 0) | at_rest).all()):
            raise ValueError(NOT_POSITIVE_DEFINITE)
        rate = (self.direction * self.residual).sum(0) / curvature.masked_fill(at_rest, 1.0)
        step = rate * self.direction
        change = rate * product
        self.residual = self.residual - change
        self.solved = precondition(self.residual)
        beta = -(self.solved * change).sum(0) / self.power
        self.power = _power(self.residual, self.solved)
        self.direction = self.solved + beta * self.direction
        return step

    def corrected(
        self, exact: Tensor, off: Tensor, precondition: Callable[[Tensor], Tensor]
    ) -> _Run:
        """Return the run with true residuals; columns that were off start anew."""
        fresh = _start(exact, precondition)
        fresh.direction = torch.where(off, fresh.direction, self.direction)
        return fresh

    def only(self, columns: Tensor) -> _Run:
        """Return the run of some of the columns."""
        return _Run(
            residual=self.residual[:, columns],
            solved=self.solved[:, columns],
            direction=self.direction[:, columns],
            power=self.power[columns],
        )


def _start(residual: Tensor, precondition: Callable[[Tensor], Tensor]) -> _Run:
    solved = precondition(residual)
    power = _power(residual, solved)
    return _Run(residual=residual, solved=solved, direction=solved, power=power)


def _power(residual: Tensor, solved: Tensor) -> Tensor:
    return (residual * solved).sum(0).clamp(min=torch.finfo(residual.dtype).tiny)
