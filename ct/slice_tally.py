"""How many slices are done, over all chunks in work at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[float, float], None]
"""Called with (slices done, slices in all)."""


class SliceTally:
    """Adds up what is finished and what is in work; the sum never goes back.

    Example:
        >>> tally = SliceTally(lambda done, total: print(done, total), n_slices=4, n_done=1)
        1.0 4.0
        >>> tally.in_work(0, 0.5)
        1.5 4.0
        >>> tally.in_work(0, 0.25)  # its worker was lost, and another has begun again
        >>> tally.finished(0, 1)
        2.0 4.0
    """

    def __init__(self, progress: Progress | None, *, n_slices: int, n_done: int) -> None:
        """Tell the start.

        Args:
            progress: whom to tell; None for nobody.
            n_slices: of all work.
            n_done: that an earlier run finished.
        """
        self._progress, self._n_slices = progress, n_slices
        self._done, self._told = n_done, -1.0
        self._parts: dict[int, float] = {}
        self._tell()

    def in_work(self, chunk: int, slices: float) -> None:
        """Take note of how much of a chunk is done, in slices."""
        self._parts[chunk] = slices
        self._tell()

    def finished(self, chunk: int, n_slices: int) -> None:
        """Take note of a chunk that is done."""
        self._parts.pop(chunk, None)
        self._done += n_slices
        self._tell()

    def _tell(self) -> None:
        now = float(self._done + sum(self._parts.values()))
        if self._progress is not None and now > self._told:
            self._told = now
            self._progress(now, float(self._n_slices))
