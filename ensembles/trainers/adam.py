"""Adam on all members at once: first-order training for tables of any length."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bayesnn.checks import check_count, check_positive
from ensembles.trainers.execution import Execution
from ensembles.trainers.first_order import Plan, bytes_per_member, train_by_gradients
from ensembles.trainers.held_out import EarlyStopping
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, TrainingProblem
from ensembles.trainers.schedules import Schedule, cosine
from ensembles.trainers.updates import AdamRule

STEP = 8.0  # learning rate times √parameters; chosen by benchmarks/ensemble_defaults.py


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam, by default with a warm-up and a cosine decay to zero; build it with `adam()`.

    Attributes:
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        learning_rate: largest step in units of the prior's standard deviation; None for
            8/√parameters, so that a step changes the function alike at every width.
        schedule: factor of the learning rate, by the part of the steps that is done; None for
            `cosine()`.
        early_stopping: which rows are held out to end the training; None for none.
        execution: how a step is run; None for `Execution()`.
        memory_budget: bytes that the members trained at once may take.
    """

    steps: int = 2000
    batch_size: int = 512
    learning_rate: float | None = None
    schedule: Schedule | None = None
    early_stopping: EarlyStopping | None = None
    execution: Execution | None = None
    memory_budget: int | None = None

    def bytes_per_member(self, size: MemberSize) -> int:
        """Return about what one member takes: copies of parameters and targets, activations."""
        return bytes_per_member(2, self.batch_size, size)

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        """Return the trained members; `seed` fixes the order of the rows, one for all."""
        n_params = sum(value.numel() for value in problem.precision.values())
        plan = Plan(
            steps=self.steps,
            batch_size=self.batch_size,
            rate=self.learning_rate or STEP / math.sqrt(n_params),
            schedule=self.schedule or cosine(),
            early_stopping=self.early_stopping,
            execution=self.execution or Execution(),
        )
        return train_by_gradients(problem, AdamRule(), plan, seed=seed, monitor=monitor)


def adam(
    *,
    steps: int = 2000,
    batch_size: int = 512,
    learning_rate: float | None = None,
    schedule: Schedule | None = None,
    early_stopping: EarlyStopping | None = None,
    execution: Execution | None = None,
    memory_budget: int | None = None,
) -> Adam:
    """Return the first-order trainer (Kingma and Ba, 2015, arXiv 1412.6980).

    Args:
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        learning_rate: largest step in units of the prior's standard deviation; by default
            8/√parameters.
        schedule: factor of the learning rate, a function of the part of the steps that is done;
            by default a warm-up and a cosine, see `ensembles.trainers.schedules`.
        early_stopping: `early_stopping(...)` holds rows out and keeps each member's best step;
            by default all steps are taken on all rows.
        execution: how a step is run: compiled, in lower precision; see `Execution`.
        memory_budget: bytes that the members trained at once may take; more members than fit are
            trained in chunks. By default 256 MiB on a CPU, where members too large for its cache
            are trained alone, and 8 GiB elsewhere.

    Returns:
        The trainer, for `EnsembleRegressor(trainer=...)`.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> adam(steps=500).steps
        500
    """
    return Adam(
        steps=check_count(steps, "steps"),
        batch_size=check_count(batch_size, "batch_size"),
        learning_rate=None
        if learning_rate is None
        else check_positive(learning_rate, "learning_rate"),
        schedule=schedule,
        early_stopping=early_stopping,
        execution=execution,
        memory_budget=None
        if memory_budget is None
        else check_count(memory_budget, "memory_budget"),
    )
