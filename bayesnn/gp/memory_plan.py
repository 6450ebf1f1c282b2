"""How a memory budget is shared between tiles, preconditioner and vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

CPU_BUDGET = 2**30
DEVICE_SHARE = 0.6  # of the free memory of a GPU
CPU_SIDE, DEVICE_SIDE = 2048, 8192  # points of a tile, at most
VECTORS = 9  # of float64 that conjugate gradients hold for each right-hand side
FACTORS = 3  # copies of the low-rank factor that live while its QR is made
SMALLEST = 16  # points of a tile


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The shares of one budget, in bytes; build it with `memory_plan`.

    Attributes:
        budget: the whole.
        side: points of a tile.
        rank: columns of the preconditioner.
        columns: right-hand sides that are solved at once.
        cache_bytes: for tiles that are kept.
    """

    budget: int
    side: int
    rank: int
    columns: int
    cache_bytes: int


def memory_plan(
    x: Tensor, *, n_outputs: int, storage: torch.dtype, rank: int | None, budget: int | None
) -> MemoryPlan:
    """Return shares: a quarter at most for each of preconditioner, vectors and the tile in work.

    A tile in work counts in x's dtype, as it is stored, and in float64. What a kernel needs beside
    its result is its own affair.

    Args:
        x: training inputs.
        n_outputs: columns of y.
        storage: dtype of kept tiles.
        rank: of the preconditioner; None for 10·√n, as far as its share reaches.
        budget: bytes; None for 1 GiB on a CPU, and 60 % of a GPU's free memory.

    Raises:
        ValueError: the budget is too small for the vectors, a rank that was asked for, or tiles of
            16 points.
    """
    n = len(x)
    if budget is None:
        free = torch.cuda.mem_get_info(x.device)[0] if x.is_cuda else 0
        budget = int(DEVICE_SHARE * free) if x.is_cuda else CPU_BUDGET
    share = budget // 4
    column = 8 * VECTORS * n
    cell = x.element_size() + storage.itemsize + 8
    least = 4 * max(column * n_outputs, 8 * FACTORS * n * (rank or 1), cell * min(n, SMALLEST) ** 2)
    if budget < least:
        raise ValueError(
            f"memory_budget: {n} points, {n_outputs} outputs and this preconditioner need at least "
            f"{least:,} bytes, got {budget:,}; raise it, or lower preconditioner_rank."
        )
    if rank is None:
        rank = min(10 * math.isqrt(n), share // (8 * FACTORS * n))
    rank = min(rank, n)
    side = min(n, DEVICE_SIDE if x.is_cuda else CPU_SIDE, math.isqrt(share // cell))
    columns = share // column
    work = cell * side**2 + 8 * n * rank + column * columns
    return MemoryPlan(
        budget=budget, side=side, rank=rank, columns=columns, cache_bytes=budget - work
    )
