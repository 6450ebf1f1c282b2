"""What a fit tells of its progress: to a callback, and to a bar on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

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


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[Callback]:
    """Yield a callback that draws a bar on stderr, where that is a terminal; it never stops a fit.

    Args:
        shown: False for no bar anywhere.

    Yields:
        The callback.
    """
    if not shown:
        yield _quiet
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("training")
        seen = -REFRESH

        def draw(progress: Progress) -> None:
            nonlocal seen
            now = time.monotonic()
            if bar.disable or (now - seen < REFRESH and progress.step < progress.total):
                return
            seen = now
            before = progress.members[0] * progress.total
            done = before + progress.step * len(progress.members)
            bar.update(
                task,
                completed=done,
                total=progress.n_members * progress.total,
                description=f"training members {progress.members[0]}–{progress.members[-1]}, "
                f"mean loss {float(progress.losses.mean()):.3g}",
            )

        yield draw


def _quiet(progress: Progress) -> None:
    """Show nothing."""
