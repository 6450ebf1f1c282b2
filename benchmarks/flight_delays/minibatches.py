"""Rows of one training step after the other, every row once before any comes again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from bayesnn.seeds import seeded_generator


def minibatches(n_rows: int, size: int, *, seed: int) -> Iterator[Int[Tensor, " size"]]:
    """Yield row numbers without end, in an order that is drawn anew for each epoch."""
    order = seeded_generator(seed, 1)
    rows = torch.empty(0, dtype=torch.long)
    while True:
        while len(rows) < size:
            rows = torch.cat((rows, torch.randperm(n_rows, generator=order)))
        yield rows[:size]
        rows = rows[size:]
