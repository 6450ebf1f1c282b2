"""Members or samples in chunks: as many at once as a memory budget takes, fewer where it fails."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from ct import slices
from ct.budget_note import note_least
from ensembles.memory import MALLOC, PeakMemory, tensors_within

T = TypeVar("T")
_DEVICE_SHARE = 4  # a GPU's memory over this is the budget there


@dataclass(frozen=True)
class Chunks(Generic[T]):
    """What the chunks gave.

    Attributes:
        results: one a chunk, in order.
        at_once: the size of the chunks at the end.
    """

    results: list[T]
    at_once: int


def in_chunks(work: Callable[[range], T], *, n: int, at_once: int, what: str) -> Chunks[T]:
    """Do work on 0 … n − 1 in even chunks, which are halved where the memory runs out.

    Args:
        work: does its part of a range; called anew with half of it after `OutOfMemoryError`.
        n: how many there are.
        at_once: how many should fit.
        what: what they are, for the warning: "members".

    Returns:
        The results.

    Raises:
        torch.OutOfMemoryError: not even one fits.

    Example:
        >>> in_chunks(list, n=5, at_once=4, what="members")
        Chunks(results=[[0, 1, 2], [3, 4]], at_once=3)
    """
    n_chunks = -(-n // max(1, at_once))
    size = -(-n // n_chunks)
    results: list[T] = []
    first, said = 0, False
    while first < n:
        chunk = range(first, min(first + size, n))
        full = False
        try:
            results.append(work(chunk))
        except torch.OutOfMemoryError:
            if len(chunk) == 1:
                raise
            full = True  # the handler's own traceback would hold on to the memory
        if full:
            gc.collect()
            size = len(chunk) // 2
            if not said:
                warnings.warn(
                    f"{len(chunk)} {what} at once do not fit the device's memory; going on with "
                    "smaller chunks.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            said = True
        else:
            first = chunk.stop
    return Chunks(results, size)


def memory_budget(device: torch.device, given: int | None = None) -> int:
    """Return the bytes that what is in work at once may take.

    Where nobody said, it is `ct.slices.MEMORY_BUDGET` on a CPU, and a quarter of its memory on a
    GPU, whatever of it is free: sums of other chunks round otherwise, and the same run shall give
    the same numbers.

    Args:
        device: where the work is done.
        given: what the user said, as in `Problem.memory_budget`; None for nothing.

    Returns:
        The bytes.
    """
    if given is not None:
        return given
    if device.type != "cuda":
        return slices.MEMORY_BUDGET
    return int(torch.cuda.get_device_properties(device).total_memory) // _DEVICE_SHARE


def tensor_budget(device: torch.device, given: int | None) -> int:
    """Return the bytes that tensors in work at once may take.

    A budget that was given is of the process, which on a CPU takes more than its tensors
    (`ensembles.memory.MALLOC`); the default is of the tensors alone.

    Args:
        device: where the work is done.
        given: what the user said, as in `Problem.memory_budget`; None for nothing.

    Returns:
        The bytes.

    Example:
        >>> tensor_budget(torch.device("cpu"), 2000)
        500
    """
    return tensors_within(given, device) or memory_budget(device)


def at_once(each: int, device: torch.device, given: int | None, *, what: str) -> int:
    """Return how many members, fits or samples are in work at once, at least one.

    Args:
        each: bytes of tensors that one takes.
        device: where they are in work.
        given: what the user said, as in `Problem.memory_budget`; None for nothing.
        what: what they are, for the note: "member".

    Returns:
        The number.

    Warns:
        RuntimeWarning: one alone takes more than the budget that was given.

    Example:
        >>> at_once(100, torch.device("cpu"), 2000, what="member")
        5
    """
    note_least(each * (MALLOC if device.type == "cpu" else 1), given, f"a {what}")
    return max(1, tensor_budget(device, given) // max(each, 1))


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most bytes of tensors made by some work that live at one time.

    Args:
        work: run once, with gradients if it takes any.

    Returns:
        The bytes; what existed before is left out.

    Example:
        >>> peak_bytes(lambda: torch.zeros(1000) + 1)
        8000
    """
    with PeakMemory() as memory:
        work()
    peak: int = memory.peak
    return peak
