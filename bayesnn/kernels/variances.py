"""Points' own variances through the layers: computed once for many tiles of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from bayesnn.kernels.state import KernelState


@dataclass(kw_only=True)
class Record:
    """Takes down the variances that each step leaves, in the order of running."""

    values: list[Tensor] = field(default_factory=list)
    known: bool = False

    def after_step(self, state: KernelState) -> KernelState:
        """Return the state as it is; its variances are taken down."""
        self.values.append(state.var1)
        return state


@dataclass(kw_only=True)
class Replay:
    """Gives back, step by step, what was taken down for the points of a tile.

    Attributes:
        first: variances of the tile's n₁ points after each step.
        second: the same of its n₂ points; the same object where the points are the same.
    """

    first: Sequence[Tensor]
    second: Sequence[Tensor]
    known: bool = True
    _next: int = 0

    def after_step(self, state: KernelState) -> KernelState:
        """Return the state with the variances that belong to it."""
        step, self._next = self._next, self._next + 1
        return replace(state, var1=self.first[step], var2=self.second[step])
