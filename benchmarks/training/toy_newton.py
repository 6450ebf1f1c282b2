"""Gauss–Newton on the paper's toy, to its end or to where gradient descent ends."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.training.toy import POINTS, Toy
from benchmarks.training.toy_outcome import Outcome
from ensembles import gauss_newton
from ensembles.trainers.monitor import State


class WithinOnePercent:
    """A monitor that notes the first step at which a mean and all members are near a reference."""

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference
        self.losses = torch.full_like(reference, torch.inf)
        self.mean_at: int | None = None
        self.all_at: int | None = None

    def resume(self) -> State | None:
        """Return None: nothing is resumed."""

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:  # noqa: ARG002
        """Note the step."""
        now = state()
        self.losses[now["numbers"]] = now["loss"] / POINTS
        if self.mean_at is None and self.losses.mean() <= 1.01 * self.reference.mean():
            self.mean_at = step
        if self.all_at is None and bool((self.losses <= 1.01 * self.reference).all()):
            self.all_at = step
        return False


def newton(toy: Toy, max_steps: int | None, what: str, repeats: int) -> Outcome:
    """Time Gauss–Newton with its defaults, to the end or up to some step."""
    trainer = gauss_newton() if max_steps is None else gauss_newton(max_steps=max_steps)
    seconds = []
    for _ in range(repeats):
        toy.setting.wait()
        began = time.perf_counter()
        trained = trainer.train(toy.problem, seed=0)
        toy.setting.wait()
        seconds.append(time.perf_counter() - began)
    return Outcome(
        what=what, steps=str(trained.n_steps), seconds=statistics.median(seconds),
        objective=toy.objective(trained.params), accuracy=toy.accuracy(trained.params),
    )  # fmt: skip
