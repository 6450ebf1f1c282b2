"""A checkpoint in memory that interrupts the work it is given to, as often as a test likes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class InterruptionError(Exception):
    """The work was ended from outside."""


class MemoryCheckpoint:
    """Saves whenever asked, and interrupts after `stop_after` saves of all parts together."""

    def __init__(
        self, stop_after: int | None = None, root: MemoryCheckpoint | None = None, name: str = ""
    ) -> None:
        self._root = root or self
        self._name = name
        self.states: dict[str, dict[str, Tensor]] = {}
        self.left = stop_after

    def due(self) -> bool:
        """Return true."""
        return True

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Keep copies, then interrupt if it is time."""
        root = self._root
        root.states[self._name] = {name: value.clone() for name, value in state.items()}
        if root.left is not None:
            root.left -= 1
            if root.left == 0:
                raise InterruptionError

    def load(self) -> dict[str, Tensor] | None:
        """Return what was saved."""
        return self._root.states.get(self._name)

    def part(self, name: str) -> MemoryCheckpoint:
        """Return a part, whose state stands in the root."""
        return MemoryCheckpoint(root=self._root, name=f"{self._name}/{name}")
