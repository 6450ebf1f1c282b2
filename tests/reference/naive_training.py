"""One member after another with torch's own optimiser, the objective written out for autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.func import functional_call

from ensembles.methods.protocol import Params
from ensembles.trainers.problem import TrainingProblem


def train_naively(
    problem: TrainingProblem,
    member: int,
    optimiser: Callable[[list[Tensor]], torch.optim.Optimizer],
    rates: Iterable[float],
    rows_of_step: Callable[[int], Tensor],
) -> Params:
    """Return one member's parameters, trained in units of the prior's standard deviation."""
    root = {name: value.sqrt() for name, value in problem.precision.items()}
    white = {
        name: (value[member] * root[name]).detach().clone().requires_grad_()
        for name, value in problem.start.items()
    }
    optimise = optimiser(list(white.values()))
    n = len(problem.inputs)
    weight = torch.ones(n).to(problem.inputs) if problem.row_weight is None else problem.row_weight
    for step, rate in enumerate(rates):
        for group in optimise.param_groups:
            group["lr"] = rate
        theta = {name: value / root[name] for name, value in white.items()}
        rows = rows_of_step(step)
        values = functional_call(problem.network, theta, (problem.inputs[rows],))
        if problem.offset is not None:
            values = values + problem.offset[member, rows]
        each = problem.loss(values, problem.targets[member, rows])
        objective = (weight[rows] * each).mean()
        if problem.center is not None:
            distance = sum(
                (problem.precision[name] * (theta[name] - problem.center[name][member]) ** 2).sum()
                for name in theta
            )
            objective = objective + problem.loss.pull / (2 * n) * distance
        optimise.zero_grad()
        objective.backward()
        optimise.step()
    return {name: (value / root[name]).detach() for name, value in white.items()}
