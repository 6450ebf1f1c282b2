"""Who watches a training: told of every step, may end it, keeps the state to go on from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

State = dict[str, Tensor]


@runtime_checkable
class Monitor(Protocol):
    """Watches m members that are trained together.

    A trainer asks `resume` once, before its first step, and calls `after_step` once a step. The
    state is all that the remaining steps depend on beside the problem, the trainer and the seed:
    a training that goes on from it ends, bit for bit, as one that was never interrupted.
    """

    def resume(self) -> State | None:
        """Return the state from which to go on, on the problem's device; None to start anew."""
        ...

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:
        """Take note of a step, and return whether to stop, with the members as they are.

        Args:
            step: steps that are done, from 1.
            total: steps at most.
            losses: of each member [m], in the problem's order, at the data of this step, as they
                were before it, without the regulariser. A later step may overwrite them.
            state: returns the state after this step; called only where it is to be kept.

        Returns:
            Whether to stop.
        """
        ...
