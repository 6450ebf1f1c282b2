"""Work that executors are tested with; a module of its own, so that other processes find it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch

from bayesnn.executors import Context


def scaled_square(shared: int, item: int, context: Context) -> int:
    return shared * item**2


def failing(shared: object, item: int, context: Context) -> int:
    if item == 2:
        raise ValueError("item 2: expected another.")
    return item


def counting(shared: int, item: int, context: Context) -> int:
    """Count to `shared`, saying every number; return where it was stopped."""
    for count in range(1, shared + 1):
        if context.report(lambda count=count: (item, count)):
            return count
    return shared


def where(shared: object, item: int, context: Context) -> tuple[str, int]:
    return str(context.device), torch.get_num_threads()


def own_process(shared: object, item: int, context: Context) -> int:
    return os.getpid()


def killed_once(folder: Path, item: int, context: Context) -> int:
    """End its own process by SIGKILL, the first time that an item is tried."""
    _note_try(folder, item)
    if _n_tries(folder, item) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def killed_always(shared: object, item: int, context: Context) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def hangs_once(folder: Path, item: int, context: Context) -> int:
    """Item 1 sleeps, the first time that it is tried."""
    _note_try(folder, item)
    if item == 1 and _n_tries(folder, item) == 1:
        time.sleep(600)
    return item


def slow_but_alive(seconds: float, item: int, context: Context) -> int:
    """Work for so many seconds, and report."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        context.report(lambda: "alive")
        time.sleep(0.05)
    return item


def notes_and_waits(folder: Path, item: int, context: Context) -> int:
    """Leave the process's number in a file, and work until stopped."""
    (folder / f"pid-{item}").write_text(str(os.getpid()))
    while not context.report(lambda: item):
        time.sleep(0.02)
    return item


def prints(shared: object, item: int, context: Context) -> int:
    print("printed by work")
    return item


def default_dtype(shared: object, item: int, context: Context) -> torch.dtype:
    return torch.get_default_dtype()


class UnsendableError(Exception):
    """An exception that cannot be rebuilt from what it holds."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raises_unsendable(shared: object, item: int, context: Context) -> int:
    raise UnsendableError("two", "words")


def _note_try(folder: Path, item: int) -> None:
    (folder / f"{item}-{time.monotonic_ns()}").touch()


def _n_tries(folder: Path, item: int) -> int:
    return len(list(folder.glob(f"{item}-*")))
