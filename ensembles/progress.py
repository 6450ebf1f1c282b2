"""What a fit tells of its progress: to a callback, and to a bar on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

REFRESH = 0.2  # seconds between two looks at the losses, which wait for the device


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the training of some members is.

    Attributes:
        members: the numbers of the members that are trained together now.
        n_members: members of the whole ensemble.
        step: steps of theirs that are done, from 1.
        total: steps at most.
        losses: of each of them at the data of the step, without the regulariser, in the units
            that the networks see; reading them waits for the device, and later steps overwrite
            them.
    """

    members: tuple[int, ...]
    n_members: int
    step: int
    total: int
    losses: Float[Tensor, " m"]


Callback = Callable[[Progress], bool | None]


class Bar:
    """Draws the progress of all members, of those that are trained here and of others."""

    def __init__(self, bar: RichProgress | None, n_members: int) -> None:
        """Begin at nothing.

        Args:
            bar: the terminal's; None to draw nothing.
            n_members: members of the whole ensemble.
        """
        self._bar, self._n_members = bar, n_members
        if bar is not None:
            self._task = bar.add_task("training", total=n_members)
        self._shares: dict[int, float] = {}  # of each member's steps
        self._seen = -REFRESH

    def __call__(self, progress: Progress) -> None:
        """Take note of a step; a bar never stops a fit."""
        now = time.monotonic()
        soon = now - self._seen < REFRESH and progress.step < progress.total
        if self._bar is None or self._bar.disable or soon:
            return
        self._seen = now
        self._draw(
            progress.members,
            progress.step / progress.total,
            f"training members {progress.members[0]}–{progress.members[-1]}, "
            f"mean loss {float(progress.losses.mean()):.3g}",
        )

    def finished(self, members: range) -> None:
        """Take note of members that are trained, after however many steps."""
        self._draw(members, 1.0, None)

    def _draw(self, members: Iterable[int], share: float, said: str | None) -> None:
        if self._bar is None:
            return
        self._shares |= dict.fromkeys(members, share)
        self._bar.update(self._task, completed=sum(self._shares.values()), description=said)


@contextmanager
def progress_bar(*, shown: bool, n_members: int, first: int = 0) -> Iterator[Bar]:
    """Yield a callback that draws a bar on stderr, where that is a terminal.

    Args:
        shown: False for no bar anywhere.
        n_members: members of the whole ensemble.
        first: of these that are trained; the ones before exist already.

    Yields:
        The callback.
    """
    if not shown:
        yield Bar(None, n_members)
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    hidden = not console.is_terminal
    with RichProgress(console=console, disable=hidden, transient=True) as rich_bar:
        bar = Bar(rich_bar, n_members)
        bar.finished(range(first))
        yield bar
