"""What layers hand on: covariances of their units in the limit of infinite width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Means = tuple[Tensor, Tensor, Tensor]


@runtime_checkable
class Trail(Protocol):
    """What follows a state through the steps, and may know the variances that they lead to."""

    known: bool

    def after_step(self, state: KernelState) -> KernelState:
        """Return the state that the next step sees."""
        ...


@dataclass(frozen=True, kw_only=True)
class KernelState:
    """Covariances of one unit of a layer at n₁ and n₂ points, and at their positions.

    Units of one layer are independent and alike in the limit, so one stands for all. Images and
    sequences have positions P = (rows, columns, …); their covariances are kept for equal positions
    alone, or for all pairs of positions where a later layer mixes them (`pairs`).

    Attributes:
        nngp: K, [n₁, n₂, *P], or [n₁, n₂, *P, *P] for pairs.
        ntk: Θ, of K's shape; None where it was not asked for.
        var1: K of each of the n₁ points with itself, [n₁, *P], or [n₁, *P, *P] for pairs.
        var2: the same of the n₂ points; var1 itself where the points are the same.
        n_positions: number of dimensions of P; 0 for vectors.
        pairs: whether all pairs of positions are kept.
        gaussian: whether the units are Gaussian with mean 0, as after a linear layer.
        fresh: whether weights of a linear layer stand between the units and the input of the
            residual block that they are in, so that they are uncorrelated with it.
        means: gives products of the units' means, of the shapes of K, var1 and var2; None where
            the means are 0 or, before the first layer, not known.
        matched: whether the second points are the first, one by one: n₂ is 1 and means the same
            point.
        trail: what follows the state through the steps; None where nothing does.
    """

    nngp: Tensor
    ntk: Tensor | None
    var1: Tensor
    var2: Tensor
    n_positions: int = 0
    pairs: bool = False
    gaussian: bool = False
    fresh: bool = False
    means: Callable[[], Means] | None = None
    matched: bool = False
    trail: Trail | None = None

    def own(self, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return what a step makes of var1 and var2, if that is not known already.

        Args:
            of: takes a point's covariances with itself, as in var1, to those after the step.
        """
        if self.trail is not None and self.trail.known:
            return self.var1, self.var2
        var1 = of(self.var1)
        return var1, var1 if self.var2 is self.var1 else of(self.var2)

    def outer(self) -> tuple[Tensor, Tensor]:
        """Return the units' variances at both points' positions; they broadcast against K."""
        rows, columns = self.position_variance(self.var1), self.position_variance(self.var2)
        return self.across(rows, 1), self.across(columns, 0, second=True)

    def outer_self(self, var: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same for one point's covariances with itself, which `var` holds."""
        each = self.position_variance(var)
        if not self.pairs:
            return each, each
        return (
            each.reshape(*each.shape, *[1] * self.n_positions),
            each.reshape(each.shape[0], *[1] * self.n_positions, *each.shape[1:]),
        )

    def position_variance(self, var: Tensor) -> Tensor:
        """Return the variances at each position, [n, *P], of var1 or var2."""
        if not self.pairs or self.n_positions == 0:
            return var
        shape = var.shape[1 : 1 + self.n_positions]
        size = shape.numel()
        square = var.reshape(var.shape[0], size, size)
        return square.diagonal(dim1=1, dim2=2).reshape(var.shape[0], *shape)

    def across(self, values: Tensor, dim: int, *, second: bool = False) -> Tensor:
        """Return values [n, *P] of one of the two points, so that they broadcast against K."""
        values = values.unsqueeze(1 if self.matched else dim)
        if self.pairs:
            ones = [1] * self.n_positions
            at = values.shape[2:]
            values = values.reshape(*values.shape[:2], *([*ones, *at] if second else [*at, *ones]))
        return values

    def with_exact_diagonal(self) -> KernelState:
        """Return the state with K(x, x) equal to its variance to the last digit.

        A rounded correlation of 1 has an angle of √rounding, which kinked activations would see.
        """
        if self.var2 is not self.var1:
            return self
        if self.matched:
            return replace(self, nngp=self.var1.unsqueeze(1))
        exact = torch.diagonal_scatter(self.nngp, self.var1.movedim(0, -1), 0, 0, 1)
        return replace(self, nngp=exact)

    def map(self, of_pair: Callable[[Tensor], Tensor], **changes: object) -> KernelState:
        """Return the state with a linear function of the positions applied to all covariances.

        Args:
            of_pair: takes and returns [..., *P] or, for pairs, [..., *P, *P].
            changes: other attributes of the new state.
        """
        var1, var2 = self.own(of_pair)
        means = self.means
        if means is not None:
            changes["means"] = lambda: tuple(of_pair(each) for each in means())
        return replace(
            self,
            nngp=of_pair(self.nngp),
            ntk=None if self.ntk is None else of_pair(self.ntk),
            var1=var1,
            var2=var2,
            **changes,  # type: ignore[arg-type]
        )
