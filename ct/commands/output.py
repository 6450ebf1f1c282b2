"""What goes to the terminal: notes and progress to stderr, results to stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


def one_line(message: object) -> str:
    """Return a message without line breaks."""
    return " ".join(str(message).split())


def note(message: str) -> None:
    """Say something on stderr."""
    typer.echo(one_line(message), err=True)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object; numbers that JSON has no word for become null."""
    typer.echo(json.dumps(_finite(content), ensure_ascii=False))


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[..., None]]:
    """Yield a function of what is done and, where it is no share, of how much there is.

    A terminal shows it, with slices done where they are counted, and the time left; anything else
    shows nothing.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total=1.0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    left = TimeRemainingColumn(elapsed_when_finished=True)
    with Progress(*columns, left, console=Console(stderr=True), transient=True) as progress:
        tasks: list[TaskID] = []

        def show(done: float, total: float = 1.0) -> None:
            said = f"{int(done)}/{total:g} slices" if total > 1 else f"{100 * done / total:.0f} %"
            if not tasks:  # what an earlier run did says nothing of this one's speed
                tasks.append(
                    progress.add_task(description, completed=int(done), total=total, said=said)
                )
            progress.update(tasks[0], completed=done, said=said)

        yield show


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
