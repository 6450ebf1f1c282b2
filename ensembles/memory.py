"""How much memory a function needs at its peak, measured by running it on a few points."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PROBE_POINTS = 64
MALLOC = 4.0  # bytes that a process on a CPU takes at its peak for each that tensors take


def tensors_within(budget: int | None, device: torch.device) -> int | None:
    """Return the bytes that tensors may take where a process may take `budget` bytes more.

    The allocator of a CPU cannot give all that was freed to whoever comes next:
    `benchmarks/memory_budget.py` measures how much more it holds. On a GPU torch's own allocator
    is what is measured.
    """
    if budget is None or device.type != "cpu":
        return budget
    return max(1, int(budget / MALLOC))


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that operations make while it is on and that live at once.

    It sees what runs below torch.func's transforms, so batched and dual tensors count in full.
    What existed before, sparse tensors, and scratch space inside an operation are left out.

    Attributes:
        peak: the most bytes that lived at one time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, Tensor):
                self._see(value, own=False)
        result = func(*args, **kwargs)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._see(value, own=True)
        return result

    def _see(self, value: Tensor, *, own: bool) -> None:
        if value.layout is not torch.strided:  # it has no storage of its own
            return
        storage = value.untyped_storage()
        key = storage._cdata  # views share it
        if key in self._alive:
            return
        size = storage.nbytes() if own else 0
        self._alive[key] = weakref.ref(storage, partial(self._freed, key, size))
        self._now += size
        self.peak = max(self.peak, self._now)

    def _freed(self, key: int, size: int, _: object) -> None:
        self._now -= size
        self._alive.pop(key, None)


def peak_memory(function: Callable[[], object]) -> int:
    """Return the most bytes of new tensors that live at one time while the function runs."""
    with torch.no_grad(), PeakMemory() as memory:
        function()
    peak: int = memory.peak
    return peak


def bytes_per_point(function: Callable[[Tensor], object], x: Tensor, *, enough: int) -> int:
    """Return what the function needs for each point, rounded up, from runs on a few points.

    Args:
        function: of a tensor of points, [p, ...].
        x: points; up to 64 are used.
        enough: bytes that a run may take; fewer points are used where it would take more.

    Returns:
        Bytes a point. What does not grow with the points counts in part.
    """
    one = max(1, peak_memory(lambda: function(x[:1])))
    points = min(PROBE_POINTS, len(x), max(1, enough // one))
    if points == 1:
        return one
    return max(1, -(-peak_memory(lambda: function(x[:points])) // points))


def slices_within(n_points: int, each: int, budget: int) -> Iterator[slice]:
    """Yield slices of points that take at most `budget` bytes, of `each` bytes a point."""
    size = max(1, budget // each)
    for first in range(0, n_points, size):
        yield slice(first, min(first + size, n_points))
