"""Members trained chunk by chunk, as many at once as fit, each chunk watched and kept."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ensembles.progress import Callback, Progress
from ensembles.trainers.monitor import Monitor, State
from ensembles.trainers.problem import Trained

Chunk = TypeVar("Chunk")


@runtime_checkable
class Keeper(Protocol):
    """Keeps finished members, and the states of those in training; see `OpenCheckpoint`."""

    def finished(self) -> tuple[range, ...]:
        """Return the finished members, those that were trained together in one range."""
        ...

    def trained(self, members: range, device: torch.device) -> Trained:
        """Return finished members."""
        ...

    def running(self, first: int) -> range | None:
        """Return the members from `first` on that were trained together before."""
        ...

    def state(self, members: range, device: torch.device) -> State | None:
        """Return the state of just these members in training, if there is one."""
        ...

    def save(self, members: range, state: Callable[[], State]) -> None:
        """Keep the state of members in training, if it is time to."""
        ...

    def finish(self, members: range, trained: Trained) -> None:
        """Keep trained members."""
        ...


def train_in_chunks(
    train: Callable[[range, Monitor], tuple[Trained, Chunk]],
    read: Callable[[range, Trained], Chunk],
    take: Callable[[int, Chunk], None],
    *,
    first: int = 0,
    n_members: int,
    at_once: int,
    device: torch.device,
    tell: Sequence[Callback],
    finished: Callable[[range], None] = lambda _: None,
    checkpoint: Keeper | None,
) -> None:
    """Train members first … n_members − 1, in chunks that are halved where memory runs out.

    Args:
        train: trains the members of a range under a monitor, and makes a result of them.
        read: makes the same result of members that are already trained.
        take: takes the number of a chunk's first member and its result, in the members' order.
        first: number of the first member that is trained.
        n_members: number of members.
        at_once: members that should fit.
        device: where they are trained.
        tell: who hears of every step, and may stop the chunk's training by returning True.
        finished: hears of members that are trained.
        checkpoint: where chunks and the state in between are kept; None for nowhere.

    Raises:
        torch.OutOfMemoryError: not even one member fits.
    """
    size = evenly(n_members - first, at_once)
    earlier = () if checkpoint is None else checkpoint.finished()
    kept = {numbers.start: numbers for numbers in earlier}
    warned = False
    full = False
    while first < n_members:
        if full:  # what was left half-done may hold memory in cycles
            gc.collect()
            full = False
        if checkpoint is not None and first in kept:
            numbers = kept[first]
            take(first, read(numbers, checkpoint.trained(numbers, device)))
            finished(numbers)
            first = numbers.stop
            if first < n_members:  # the last chunk may be a shorter one
                size = len(numbers)  # it may have been halved
            continue
        numbers = range(first, min([first + size, n_members, *(s for s in kept if s > first)]))
        left = None if checkpoint is None else checkpoint.running(first)
        if left is not None and not warned:
            numbers = left
            size = len(left)
        try:
            watch = _Watch(numbers, n_members, device, tell, checkpoint)
            trained, result = train(numbers, watch)
        except torch.OutOfMemoryError as error:
            if len(numbers) == 1:
                error.add_note("One member alone does not fit: lower the batch size or the width.")
                raise
            size = len(numbers) // 2
            if not warned:
                warnings.warn(
                    f"training: {len(numbers)} members at once do not fit the memory; going on "
                    "with smaller chunks. Set memory_budget to start with fewer.",
                    RuntimeWarning,
                    stacklevel=4,
                )
            warned = full = True
            continue  # outside of this handler, which holds on to the memory
        if checkpoint is not None:
            checkpoint.finish(numbers, trained)
        take(first, result)
        del trained, result  # before the next chunk needs the memory
        finished(numbers)
        first = numbers.stop


def evenly(n: int, at_once: int) -> int:
    """Return the size of chunks of one size: 11 members where 10 fit are 6 and 5."""
    n_chunks = max(1, -(-n // max(1, at_once)))
    return -(-n // n_chunks)


class _Watch:
    """The monitor of one chunk."""

    def __init__(
        self,
        numbers: range,
        n_members: int,
        device: torch.device,
        tell: Sequence[Callback],
        checkpoint: Keeper | None,
    ) -> None:
        self._numbers, self._members, self._n_members = numbers, tuple(numbers), n_members
        self._device, self._tell, self._checkpoint = device, tell, checkpoint

    def resume(self) -> State | None:
        """Return the state that an interrupted fit has left."""
        if self._checkpoint is None:
            return None
        return self._checkpoint.state(self._numbers, self._device)

    def after_step(self, step: int, total: int, losses: Tensor, state: Callable[[], State]) -> bool:
        """Keep the state if it is time to, and tell of the step.

        Returns:
            Whether somebody asks to stop.
        """
        if self._checkpoint is not None:
            self._checkpoint.save(self._numbers, state)
        progress = Progress(
            members=self._members, n_members=self._n_members, step=step, total=total, losses=losses
        )
        answers = [tell(progress) for tell in self._tell]  # all of them hear of it
        return any(answers)
