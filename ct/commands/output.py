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
def progress_bar(description: str) -> Iterator[Callable[[float], None]]:
    """Yield a function of the share that is done; a terminal shows it, anything else nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(description, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
