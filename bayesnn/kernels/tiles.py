"""How a kernel matrix is cut up: blocks whose products are formed at once, tiles within them.

A layer's rule is some ten passes over a matrix. They run at the speed of a cache where the matrix
is a tile that fits it, and at that of memory where it is not. On a CPU each thread takes whole
tiles: torch runs an operation on fewer than `_SERIAL` values on the thread that calls it, so that
threads do not wait for one another after every operation, and the user's setting of threads stays.
A GPU runs a tile's operations on all its processors, so its tiles are as large as memory allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

_SERIAL = 32768  # at::internal::GRAIN_SIZE
_CPU_TILE, _CPU_BLOCK = _SERIAL - 1, 2**21
_LARGE_CPU_TILE = 2**18  # where one pair of points exceeds a tile: all threads share it
_GPU_TILE = 2**24


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Sides of blocks and tiles in points, and how many threads take tiles.

    Attributes:
        block: points a side whose products are formed, and variances followed, at once.
        tile: points a side that go through all layers at once.
        threads: threads that take tiles.
    """

    block: int
    tile: int
    threads: int


def tiling(device: torch.device, values: int, *, positions_mix: bool) -> Tiling:
    """Return sizes for a device.

    Args:
        device: where the matrix is computed.
        values: covariances that are followed for a pair of points: 1 for vectors, more where
            points have positions.
        positions_mix: whether these are all pairs of positions.
    """
    if device.type != "cpu":
        side = _side(_GPU_TILE, values)
        return Tiling(block=side, tile=side, threads=1)
    if positions_mix or values > _CPU_TILE:
        tile, threads = _side(_LARGE_CPU_TILE, values), 1
    else:
        tile, threads = _side(_CPU_TILE, values), torch.get_num_threads()
    return Tiling(block=max(tile, _side(_CPU_BLOCK, values)), tile=tile, threads=threads)


def _side(budget: int, values: int) -> int:
    return max(1, math.isqrt(budget // values))


def spans(n: int, size: int) -> list[slice]:
    """Return consecutive slices of at most `size` that cover n."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def in_threads(threads: int, jobs: Iterable[Callable[[], None]]) -> None:
    """Run jobs that want no gradients; with one thread, on the thread that calls."""
    if threads == 1:
        with torch.no_grad():
            for job in jobs:
                job()
        return
    # whether gradients are wanted is a thread's own affair
    pool = ThreadPoolExecutor(threads, initializer=torch.set_grad_enabled, initargs=(False,))
    try:
        for running in [pool.submit(job) for job in jobs]:
            running.result()
    finally:
        pool.shutdown(cancel_futures=True)
