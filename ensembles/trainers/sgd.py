"""Gradient descent with momentum on all members at once."""

from __future__ import annotations

from dataclasses import dataclass

from bayesnn.checks import check_count, check_positive
from ensembles.trainers.execution import Execution
from ensembles.trainers.first_order import Plan, bytes_per_member, train_by_gradients
from ensembles.trainers.held_out import EarlyStopping
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, TrainingProblem
from ensembles.trainers.schedules import Schedule, cosine
from ensembles.trainers.updates import SGDRule


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Gradient descent that Λ⁻¹ preconditions, with momentum; build it with `sgd()`.

    Attributes:
        learning_rate: the largest, for parameters in units of the prior's standard deviation.
        momentum: μ; 0 for none.
        nesterov: whether the step looks ahead along the momentum.
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        schedule: factor of the learning rate, by the part of the steps that is done; None for
            `cosine()`.
        early_stopping: which rows are held out to end the training; None for none.
        execution: how a step is run; None for `Execution()`.
        memory_budget: bytes that the members trained at once may take.
    """

    learning_rate: float
    momentum: float = 0.9
    nesterov: bool = True
    steps: int = 2000
    batch_size: int = 512
    schedule: Schedule | None = None
    early_stopping: EarlyStopping | None = None
    execution: Execution | None = None
    memory_budget: int | None = None

    def bytes_per_member(self, size: MemberSize) -> int:
        """Return about what one member takes: copies of parameters and targets, activations."""
        return bytes_per_member(1, self.batch_size, size)

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        """Return the trained members; `seed` fixes the order of the rows, one for all."""
        plan = Plan(
            steps=self.steps,
            batch_size=self.batch_size,
            rate=self.learning_rate,
            schedule=self.schedule or cosine(),
            early_stopping=self.early_stopping,
            execution=self.execution or Execution(),
        )
        rule = SGDRule(momentum=self.momentum, nesterov=self.nesterov)
        return train_by_gradients(problem, rule, plan, seed=seed, monitor=monitor)


def sgd(
    *,
    learning_rate: float,
    momentum: float = 0.9,
    nesterov: bool = True,
    steps: int = 2000,
    batch_size: int = 512,
    schedule: Schedule | None = None,
    early_stopping: EarlyStopping | None = None,
    execution: Execution | None = None,
    memory_budget: int | None = None,
) -> SGD:
    """Return gradient descent with momentum; full batch, it follows the flow of the papers.

    The step is Λ⁻¹ times the gradient of (1/n)·Σ loss + pull/(2n)·‖θ − c‖²_Λ. Without momentum it
    is stable near the start where the rate is below 2n over the kernel's largest eigenvalue.
    Source: Sutskever and others, 2013, On the importance of initialization and momentum.

    Args:
        learning_rate: the largest, for parameters in units of the prior's standard deviation.
        momentum: μ, in [0, 1); 0 for none.
        nesterov: whether the step looks ahead along the momentum.
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        schedule: factor of the learning rate, as for `adam`.
        early_stopping: as for `adam`.
        execution: as for `adam`.
        memory_budget: as for `adam`.

    Returns:
        The trainer, for `EnsembleRegressor(trainer=...)`.

    Raises:
        ValueError: a number that is not positive, or a momentum outside [0, 1).

    Example:
        >>> sgd(learning_rate=0.1, momentum=0.0).momentum
        0.0
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum: expected a number in [0, 1), got {momentum!r}.")
    return SGD(
        learning_rate=check_positive(learning_rate, "learning_rate"),
        momentum=float(momentum),
        nesterov=nesterov and momentum > 0,
        steps=check_count(steps, "steps"),
        batch_size=check_count(batch_size, "batch_size"),
        schedule=schedule,
        early_stopping=early_stopping,
        execution=execution,
        memory_budget=None
        if memory_budget is None
        else check_count(memory_budget, "memory_budget"),
    )
