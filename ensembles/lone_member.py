"""A member that is trained alone where others would fit beside it: with the numbers of a chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ensembles.methods.protocol import Params
from ensembles.trainers.monitor import Monitor, State
from ensembles.trainers.problem import Trained, Trainer, TrainingProblem


def train_beside_a_copy(
    trainer: Trainer, problem: TrainingProblem, *, seed: int, monitor: Monitor
) -> Trained:
    """Train one member beside a copy of itself.

    Products and sums over a batch of one take other paths than those over more, and round
    otherwise; training would carry that on to a difference that can be seen. The copy costs what a
    second member costs.

    Args:
        trainer: of members side by side.
        problem: of one member.
        seed: of whatever the trainer draws.
        monitor: watches the member; the states it keeps are of both.

    Returns:
        The member.
    """
    both = torch.zeros(2, dtype=torch.long, device=problem.targets.device)

    def twice(params: Params) -> Params:
        return {name: value[both] for name, value in params.items()}

    doubled = replace(
        problem,
        targets=problem.targets[both],
        offset=None if problem.offset is None else problem.offset[both],
        start=twice(problem.start),
        center=None if problem.center is None else twice(problem.center),
        shift={kind: twice(params) for kind, params in problem.shift.items()},
    )
    trained = trainer.train(doubled, seed=seed, monitor=_OfTheFirst(monitor))
    return replace(
        trained,
        params={name: value[:1].clone() for name, value in trained.params.items()},
        converged=trained.converged[:1],
    )


class _OfTheFirst:
    """Tells a monitor of one member what is told of two alike."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def resume(self) -> State | None:
        """Return the state of both."""
        return self._monitor.resume()

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:
        """Take note of a step.

        Returns:
            Whether to stop.
        """
        return self._monitor.after_step(step, total, losses[:1], state)
