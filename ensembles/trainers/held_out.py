"""Rows held out of the training: they choose each member's best step, and end the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesnn.checks import check_count
from bayesnn.seeds import seeded_generator
from ensembles.methods.protocol import Params
from ensembles.trainers.batches import rows_of
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import TrainingProblem

VALIDATION = (0, 2)  # the place of its random stream; members have places of one number


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Training that ends when held-out rows say so; build it with `early_stopping()`.

    Attributes:
        fraction: part of the rows that is held out.
        every: steps between two checks.
        patience: checks without an improvement of any member, after which training ends.
    """

    fraction: float
    every: int
    patience: int

    def split(self, problem: TrainingProblem, seed: int) -> tuple[TrainingProblem, TrainingProblem]:
        """Return the problems of the rows that train, and of those held out.

        Raises:
            ValueError: fewer than two rows.
        """
        n = problem.inputs.shape[0]
        if n < 2:
            raise ValueError("early_stopping: expected at least two rows, got one; leave it out.")
        order = torch.randperm(n, generator=seeded_generator(seed, *VALIDATION))
        held_out = min(max(1, round(self.fraction * n)), n - 1)
        train, rest = order[held_out:].sort().values, order[:held_out].sort().values
        return rows_of(problem, train), rows_of(problem, rest)


def early_stopping(*, fraction: float = 0.1, every: int = 50, patience: int = 10) -> EarlyStopping:
    """Return the rule that holds rows out and keeps, for each member, its best parameters.

    The rows are drawn by the seed, the same for all members. Every member is judged by the loss of
    its own targets at these rows, without the regulariser.

    Args:
        fraction: part of the rows that is held out, at least one of them.
        every: steps between two checks.
        patience: checks without an improvement of any member, after which training ends.

    Returns:
        The rule, for `adam(early_stopping=...)`.

    Raises:
        ValueError: a fraction outside (0, 1), or a count below 1.

    Example:
        >>> early_stopping(patience=5).patience
        5
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected a part of the rows in (0, 1), got {fraction!r}.")
    return EarlyStopping(
        fraction=float(fraction),
        every=check_count(every, "every"),
        patience=check_count(patience, "patience"),
    )


class Best:
    """The best parameters of each member, judged on the rows held out."""

    def __init__(
        self, rule: EarlyStopping, losses: Callable[[], Tensor], params: Callable[[], Params]
    ) -> None:
        """Start from the members as they are; the functions tell of them as they come to be."""
        self.rule, self._losses, self._params = rule, losses, params
        self.loss, self.params = losses(), params()
        self.stale = torch.zeros((), dtype=torch.long)

    def check(self) -> bool:
        """Keep what has improved.

        Returns:
            Whether training should end.
        """
        loss = self._losses()
        better = loss < self.loss  # never where the loss is NaN
        self.loss = torch.where(better, loss, self.loss)
        for name, value in self._params().items():
            mask = better.view(-1, *[1] * (value.ndim - 1))
            self.params[name] = torch.where(mask, value, self.params[name])
        self.stale = torch.zeros_like(self.stale) if bool(better.any()) else self.stale + 1
        return int(self.stale) >= self.rule.patience

    def state(self) -> State:
        """Return all that further checks depend on."""
        best = {f"best/{name}": value for name, value in self.params.items()}
        return best | {"best_loss": self.loss, "stale": self.stale}

    def restore(self, state: State) -> None:
        """Go back to a state."""
        self.params = {name: state[f"best/{name}"] for name in self.params}
        self.loss, self.stale = state["best_loss"], state["stale"].cpu()
