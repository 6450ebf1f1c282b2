"""First-order training for tables of any length: Adam on all members at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from bayesnn.seeds import seeded_generator
from ensembles.evaluation import over_members
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, TrainingProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ensembles.methods.protocol import Params

BATCH_ORDER = (0, 1)  # the place of its random stream; members have places of one number
STEP = 8.0  # learning rate times √parameters; chosen by benchmarks/ensemble_defaults.py


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with a warm-up and a cosine decay to zero; build it with `adam()`.

    Attributes:
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        learning_rate: largest step in units of the prior's standard deviation; None for
            8/√parameters, so that a step changes the function alike at every width.
        memory_budget: bytes that the members trained at once may take.
    """

    steps: int = 2000
    batch_size: int = 512
    learning_rate: float | None = None
    memory_budget: int | None = None

    def bytes_per_member(self, n_params: int, n_points: int, n_outputs: int, itemsize: int) -> int:
        """Return about what one member takes: copies of parameters and targets, activations."""
        activations = 16 * min(self.batch_size, n_points) * math.isqrt(n_params)
        return (10 * n_params + 3 * n_points * n_outputs + activations) * itemsize

    def train(
        self,
        problem: TrainingProblem,
        *,
        seed: int,
        monitor: Monitor | None = None,  # noqa: ARG002
    ) -> Trained:
        """Return the trained members; `seed` fixes the order of the rows, one for all."""
        scales = {name: value.rsqrt() for name, value in problem.precision.items()}
        # Adam's steps do not know the scale of a parameter: train θ in units of its prior
        white = {name: value / scales[name] for name, value in problem.start.items()}
        center = {name: value / scales[name] for name, value in (problem.center or {}).items()}
        leaves = {name: value.requires_grad_() for name, value in white.items()}
        n_params = sum(value.numel() for value in problem.precision.values())
        peak = self.learning_rate or STEP / math.sqrt(n_params)
        optimiser = torch.optim.Adam(list(leaves.values()), lr=peak)
        n = problem.inputs.shape[0]
        for step, rows in enumerate(_batches(n, self.batch_size, self.steps, seed)):
            for group in optimiser.param_groups:
                group["lr"] = peak * _schedule(step / self.steps)
            loss = _loss(problem, {k: v * scales[k] for k, v in leaves.items()}, rows)
            gradients = torch.autograd.grad(loss, list(leaves.values()))
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
                if center:
                    pull = problem.loss.pull / n
                    gradient = gradient + pull * (leaf.detach() - center[name])
                leaf.grad = gradient
            optimiser.step()
        params = {name: leaf.detach() * scales[name] for name, leaf in leaves.items()}
        everyone = torch.ones(problem.targets.shape[0], dtype=torch.bool)  # it has no criterion
        return Trained(params=params, converged=everyone, n_steps=self.steps)


def adam(
    *,
    steps: int = 2000,
    batch_size: int = 512,
    learning_rate: float | None = None,
    memory_budget: int | None = None,
) -> Adam:
    """Return the first-order trainer (Kingma and Ba, 2015, arXiv 1412.6980).

    Args:
        steps: number of steps.
        batch_size: rows a step; all rows where there are no more.
        learning_rate: largest step in units of the prior's standard deviation; by default
            8/√parameters.
        memory_budget: bytes that the members trained at once may take; more members than fit are
            trained in chunks. By default 128 MiB on a CPU, where what fits the cache trains
            faster, and 8 GiB elsewhere.

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
        memory_budget=None
        if memory_budget is None
        else check_count(memory_budget, "memory_budget"),
    )


def _schedule(progress: float) -> float:
    return min(1.0, progress / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


def _batches(n: int, size: int, steps: int, seed: int) -> Iterator[Tensor | None]:
    """Yield the rows of each step, epoch after epoch in a new order; None for all rows."""
    if size >= n:
        yield from (None for _ in range(steps))
        return
    generator = seeded_generator(seed, *BATCH_ORDER)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(n, generator=generator)
        yield order[:size]
        order = order[size:]


def _loss(problem: TrainingProblem, params: Params, rows: Tensor | None) -> Tensor:
    """Return the sum over members of the weighted loss, averaged over rows."""
    x, targets, offset, weight = (
        problem.inputs, problem.targets, problem.offset, problem.row_weight
    )  # fmt: skip
    if rows is not None:
        rows = rows.to(x.device)
        x, targets = x[rows], targets[:, rows]
        offset = None if offset is None else offset[:, rows]
        weight = None if weight is None else weight[rows]

    values = over_members(
        lambda member, shift: problem.value(problem.network, member, shift, x),
        params,
        problem.shift,
    )
    each = problem.loss(values if offset is None else values + offset, targets)
    return (each if weight is None else weight * each).sum() / x.shape[0]
