"""Which rows a step sees; the same rows for all members."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ensembles.trainers.problem import TrainingProblem

BATCH_ORDER = (0, 1)  # the place of its random stream; members have places of one number


class Batches:
    """The rows of every step: epochs in new orders, whatever is left over at their ends dropped.

    An epoch's order depends on the seed and its number alone, so any step can be the first.
    """

    def __init__(self, n: int, size: int, seed: int, device: torch.device) -> None:
        self.full = size >= n
        self._n, self._size, self._seed, self._device = n, size, seed, device
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def rows(self, step: int) -> Int[Tensor, " size"]:
        """Return the rows of a step, counted from 0."""
        epoch, place = divmod(step, self._n // self._size)
        if epoch != self._epoch:
            generator = seeded_generator(self._seed, *BATCH_ORDER, epoch)
            self._order = torch.randperm(self._n, generator=generator).to(self._device)
            self._epoch = epoch
        return self._order[place * self._size : (place + 1) * self._size]


def rows_of(problem: TrainingProblem, rows: Int[Tensor, " r"]) -> TrainingProblem:
    """Return the problem of some of the rows."""
    rows = rows.to(problem.inputs.device)
    return replace(
        problem,
        inputs=problem.inputs[rows],
        targets=problem.targets[:, rows],
        offset=None if problem.offset is None else problem.offset[:, rows],
        row_weight=None if problem.row_weight is None else problem.row_weight[rows],
    )
