"""Scores of many points, so many at a time that the memory they take stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count

MEMORY_BUDGET = 2**27  # bytes of intermediate values at a time


def by_chunks(
    score: Callable[..., Tensor],
    *arrays: Tensor,
    numbers_per_point: int,
    memory_budget: int,
) -> Float[Tensor, " points"]:
    """Return a score of each point, some points at a time; a chunk is one point at least.

    Args:
        score: takes parts of the arrays and returns one number a point.
        arrays: with the points as their last dimension.
        numbers_per_point: how many values are held at once for one point.
        memory_budget: bytes that they may take.

    Returns:
        The scores, the same for every budget but for rounding.

    Raises:
        ValueError: a budget below 1.

    Example:
        >>> by_chunks(lambda x: x.sum(0), torch.ones(3, 2), numbers_per_point=3, memory_budget=12)
        tensor([3., 3.])
    """
    memory_budget = check_count(memory_budget, "memory_budget")
    step = max(memory_budget // (numbers_per_point * arrays[0].dtype.itemsize), 1)
    starts = range(0, arrays[0].shape[-1], step)
    return torch.cat([score(*(a[..., k : k + step] for a in arrays)) for k in starts])


def row_chunks(
    *arrays: Tensor, numbers_per_row: int, memory_budget: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same rows of all arrays, some at a time; a chunk is one row at least.

    Args:
        arrays: with the points as their first dimension.
        numbers_per_row: how many float64 values are held at once for one row.
        memory_budget: bytes that they may take.

    Yields:
        One part of each array.

    Raises:
        ValueError: a budget below 1.

    Example:
        >>> parts = row_chunks(torch.arange(3.0), numbers_per_row=1, memory_budget=16)
        >>> [part.tolist() for (part,) in parts]
        [[0.0, 1.0], [2.0]]
    """
    step = max(check_count(memory_budget, "memory_budget") // (numbers_per_row * 8), 1)
    for start in range(0, len(arrays[0]), step):
        yield tuple(array[start : start + step] for array in arrays)
