"""Processes that a test may kill: forked from one that has everything imported and run once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["__main__", "tests.faults.warmed"])
PATIENCE = 300.0  # seconds until a child that says nothing counts as hanging


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process in work, and what it says.

    Attributes:
        process: the process.
        hears: what it sends.
    """

    process: BaseProcess
    hears: Connection

    def said(self) -> Any:
        """Return the next thing it sends; fail where it sends none."""
        if not self.hears.poll(PATIENCE):
            self.kill()
            raise AssertionError("the child says nothing")
        return self.hears.recv()

    def kill(self) -> bool:
        """Kill −9, and return whether it was at work until then."""
        self.send(signal.SIGKILL)
        self.process.join(PATIENCE)
        return self.process.exitcode == -signal.SIGKILL

    def send(self, signal_number: int) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        if self.process.exitcode is None:
            os.kill(self.process.pid, signal_number)

    def result(self) -> Any:
        """Wait for its end, and return the last thing that it sent."""
        last = self.said()
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0
        return last


def started(work: Callable[..., None], *args: Any) -> Child:
    """Start `work(say, *args)` in a process; `say` sends to this one. Returns once it has begun."""
    hears, say = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_begin, args=(work, say, *args), daemon=True)
    process.start()
    say.close()
    child = Child(process=process, hears=hears)
    assert child.said() == "begun"
    return child


def _begin(work: Callable[..., None], say: Connection, *args: Any) -> None:
    # shells start what runs in the background with Ctrl-C ignored, and that is inherited
    signal.signal(signal.SIGINT, signal.default_int_handler)
    say.send("begun")
    work(say.send, *args)


def ran(work: Callable[..., None], *args: Any) -> tuple[Any, float]:
    """Run `work(say, *args)` in a process to its end.

    Returns:
        The last thing that it said, and the seconds that it took.
    """
    child = started(work, *args)
    began = time.monotonic()
    result = child.result()
    return result, time.monotonic() - began
