"""A monitor for tests of trainers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ensembles.trainers.monitor import State


class Watcher:
    """A monitor that keeps all that it is told, and stops when it is told to."""

    def __init__(self, *, start: State | None = None, stop_at: int | None = None) -> None:
        self.start, self.stop_at = start, stop_at
        self.steps: list[int] = []
        self.totals: list[int] = []
        self.losses: list[Tensor] = []
        self.states: list[State] = []

    def resume(self) -> State | None:
        return self.start

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:
        self.steps.append(step)
        self.totals.append(total)
        self.losses.append(losses.clone())
        self.states.append({name: value.clone() for name, value in state().items()})
        return step == self.stop_at
