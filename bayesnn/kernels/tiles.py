"""How a kernel matrix is cut up, and who works on the pieces.

A layer's rule is some ten passes over a matrix. They run at the speed of a cache where the matrix
is a tile that fits it, and at that of memory where it is not. On a CPU each thread takes whole
tiles and runs their operations alone: threads that share an operation wait for one another after
each of them. A GPU runs an operation on all its processors, so its tiles are as large as memory
allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier

import torch

_CPU_TILE = 2**16  # values: half a megabyte in float64
_PAIRS_TILE = 2**20  # of all pairs of positions: points' own covariances cost as much as a pair's
_GPU_TILE = 2**24
_BLOCK, _BLOCK_VALUES = 4096, 2**18

Run = Callable[[Iterable[Callable[[], None]]], None]


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Sides of blocks and tiles in points, and how many threads take tiles.

    Attributes:
        block: points a side whose variances are followed at once.
        tile: points a side whose covariances are followed at once.
        threads: threads that take tiles.
    """

    block: int
    tile: int
    threads: int


def tiling(device: torch.device, positions: int, *, pairs: bool) -> Tiling:
    """Return sizes for a device.

    Args:
        device: where the matrix is computed.
        positions: positions of a point; 1 for vectors.
        pairs: whether all pairs of positions are followed.
    """
    gpu = device.type != "cpu"
    values = positions**2 if pairs else positions
    budget = _GPU_TILE if gpu else _PAIRS_TILE if pairs else _CPU_TILE
    tile = max(1, math.isqrt(budget // values))
    # a GPU waits for every launch, and variances of a block are launched once
    most = _BLOCK_VALUES if gpu else _BLOCK
    block = max(tile, min(most, _BLOCK_VALUES // positions))
    return Tiling(block=block, tile=tile, threads=1 if gpu else torch.get_num_threads())


def spans(n: int, size: int) -> list[slice]:
    """Return consecutive slices of at most `size` that cover n."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


@contextmanager
def workers(threads: int) -> Iterator[Run]:
    """Yield a function that runs jobs side by side and waits for them; they want no gradients.

    Each thread runs torch's operations alone. With one thread that is the thread which calls.

    Args:
        threads: how many; torch.get_num_threads() or 1.
    """
    if threads == 1:
        with torch.no_grad():
            yield _one_by_one
        return
    started = Barrier(threads + 1)
    with ThreadPoolExecutor(threads, initializer=_work_alone) as pool:
        for _ in range(threads):
            pool.submit(started.wait)
        started.wait()
        # threads that begin later take the number that was set last, whoever set it
        torch.set_num_threads(threads)

        def run(jobs: Iterable[Callable[[], None]]) -> None:
            running = [pool.submit(job) for job in jobs]
            try:
                for each in running:
                    each.result()
            finally:
                for each in running:
                    each.cancel()

        yield run


def _one_by_one(jobs: Iterable[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _work_alone() -> None:
    # both hold for the thread that calls, once it has taken up the setting that it begins with
    torch.set_grad_enabled(False)
    torch.get_num_threads()
    torch.set_num_threads(1)
