"""An even number of rows, so that a member's numbers begin where vectors may."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ensembles.trainers.observation import Pointwise
from ensembles.trainers.problem import TrainingProblem


def with_even_rows(problem: TrainingProblem) -> TrainingProblem:
    """Return the same problem with an even number of data for each member.

    Where a member has an odd number of values, every second member's begin at an address that is no
    multiple of 16 bytes, and products of matrices round otherwise there: what a member is would
    depend on who stands before it. The last row comes again, without weight.

    Args:
        problem: of squares; data that are functions of all values at once are left as they are.
    """
    n, n_values = len(problem.inputs), problem.targets[0].numel()
    if n_values % 2 == 0 or not isinstance(problem.observation, Pointwise):
        return problem
    weight = problem.row_weight
    if weight is None:
        weight = problem.targets.new_ones(n)

    def longer(values: Tensor, dim: int) -> Tensor:
        return torch.cat([values, values.narrow(dim, n - 1, 1)], dim=dim)

    return replace(
        problem,
        inputs=longer(problem.inputs, 0),
        targets=longer(problem.targets, 1),
        offset=None if problem.offset is None else longer(problem.offset, 1),
        row_weight=torch.cat([weight, weight.new_zeros(1)]),
    )
