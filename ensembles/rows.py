"""Rows that come in parts, held in few blocks of memory."""

from __future__ import annotations

from torch import Tensor


class Rows:
    """Rows that come in parts, held in few blocks of memory.

    A small block kept from every chunk would keep the allocator from using the chunks' large ones
    again: a million points then took gigabytes.
    """

    def __init__(self) -> None:
        self._held: Tensor | None = None
        self._n = 0

    def add(self, part: Tensor) -> None:
        """Append rows."""
        end = self._n + len(part)
        if self._held is None:
            self._held = part
        elif end > len(self._held):
            grown = part.new_empty((max(end, 2 * self._n), *part.shape[1:]))
            grown[: self._n] = self._held[: self._n]
            self._held = grown
        if self._n:
            self._held[self._n : end] = part
        self._n = end

    def joined(self) -> Tensor:
        """Return all rows."""
        assert self._held is not None
        return self._held[: self._n]
