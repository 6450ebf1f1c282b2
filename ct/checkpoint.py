"""Where long work on one slice may leave its state, so that an interruption loses little of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Checkpoint(Protocol):
    """A place for the state of one piece of work.

    Work asks `due()` after each step, which is cheap, saves its state when told so, and begins
    with what `load()` returns. A run that goes on from a saved state must give the numbers of one
    that was never interrupted.
    """

    def due(self) -> bool:
        """Return whether it is time to save."""

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Put the state in the place of the last one."""

    def load(self) -> dict[str, Tensor] | None:
        """Return the last state, on the CPU; None where nothing was saved."""

    def part(self, name: str) -> Checkpoint:
        """Return the place of one of several pieces of work, such as "held-out" or "member-3"."""


class Forgetful:
    """The checkpoint of work that nobody will resume.

    Example:
        >>> Forgetful().part("fit").load() is None
        True
    """

    def due(self) -> bool:
        """Return false: nothing needs to be saved."""
        return False

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Forget the state."""

    def load(self) -> dict[str, Tensor] | None:
        """Return None: there is no earlier work."""
        return None

    def part(self, name: str) -> Checkpoint:  # noqa: ARG002
        """Return a place as forgetful as this one."""
        return self


def remembered(checkpoint: Checkpoint, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what a piece of work gives, from its checkpoint where it was done before.

    Args:
        checkpoint: the place of this piece alone.
        work: what makes the tensors; its own numbers must not depend on when it runs.

    Returns:
        The tensors, on the CPU where they come from the checkpoint.

    Example:
        >>> import torch
        >>> remembered(Forgetful(), lambda: {"image": torch.zeros(1)})
        {'image': tensor([0.])}
    """
    found = checkpoint.load()
    if found is None:
        found = work()
        checkpoint.save(found)
    return found
