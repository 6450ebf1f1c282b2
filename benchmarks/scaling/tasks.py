"""What does a task cost beside its work, and does a driver stay small over thousands of them?"""

from __future__ import annotations

import resource
import time

import numpy as np
from numpy.typing import NDArray

from bayesnn.executors import Context, Executor

BYTES = 2**20  # of the result of each task
WAIT = 0.05  # seconds that each of many tasks takes


def nothing(shared: None, item: int, context: Context) -> int:  # noqa: ARG001
    """Return the item."""
    return item


def overhead(executor: Executor, n: int) -> float:
    """Return the seconds that each of n tasks of one worker takes that do nothing.

    Args:
        executor: of one worker, kept.
        n: number of tasks.
    """
    assert dict(executor.run(nothing, range(n), shared=None)) == {i: i for i in range(n)}
    began = time.perf_counter()
    results = dict(executor.run(nothing, range(n), shared=None))
    seconds = time.perf_counter() - began
    assert results == {i: i for i in range(n)}
    return seconds / n


def numbered(
    shared: NDArray[np.float64],
    item: int,
    context: Context,  # noqa: ARG001
) -> NDArray[np.float64]:
    """Return a MiB of the item's number after a moment."""
    time.sleep(WAIT)
    return shared + item


def many(executor: Executor, n: int) -> tuple[float, float]:
    """Run n tasks whose results are a MiB each, and check each result.

    Args:
        executor: of many workers, kept.
        n: number of tasks.

    Returns:
        Seconds, and the largest memory of this process in bytes.
    """
    zeros = np.zeros(BYTES // 8)
    seen = np.zeros(n, dtype=int)
    began = time.perf_counter()
    for number, result in executor.run(numbered, range(n), shared=zeros):
        assert result.shape == zeros.shape
        assert (result == number).all(), f"task {number} came back with another's numbers"
        seen[number] += 1
    seconds = time.perf_counter() - began
    assert (seen == 1).all(), "a task was lost, or came twice"
    return seconds, 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
