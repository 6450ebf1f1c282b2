"""What runs in Ray's processes: the task that does an item, and the actor that hears of it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Where an item is begun, perhaps not for the first time.

    Attributes:
        pid: of the process that does it.
        node: where that process runs.
        up: whether that process has imported what it needs, which takes seconds.
    """

    pid: int
    node: str
    up: bool


class Mailbox:
    """Takes what work says until the caller collects it, and tells work whom to stop."""

    def __init__(self) -> None:
        self._run = ""
        self._said: list[tuple[int, Begun, Any]] = []
        self._stopped: set[int] = set()

    def say(self, run: str, number: int, begun: Begun, message: Any) -> bool:
        """Take a message about an item.

        Args:
            run: which the item belongs to.
            number: of the item.
            begun: where it is done; told each time, as this process forgets when it is lost.
            message: packed words of the work; None for the sign of life alone.

        Returns:
            Whether the item shall stop early.
        """
        self._turn_to(run)
        self._said.append((number, begun, message))
        return number in self._stopped

    def collected(self, run: str, stop: set[int]) -> list[tuple[int, Begun, Any]]:
        """Return what was said since the last time.

        Args:
            run: whose items are asked about.
            stop: items to be stopped early.
        """
        self._turn_to(run)
        self._stopped |= stop
        said, self._said = self._said, []
        return said

    def _turn_to(self, run: str) -> None:
        """Forget another run's messages: one run at a time is heard of."""
        if run != self._run:
            self._run, self._said, self._stopped = run, [], set()


_held: dict[str, tuple[Any, Any]] = {}
"""Work and data of the run that this process does items of, by the name of what holds them."""


def done(run: list[Any], number: int, item: bytes, gpu: bool, threads: int, mailbox: Any) -> Any:
    """Do an item.

    Args:
        run: the reference of work, data and settings, which is looked up once a process.
        number: of the item.
        item: packed.
        gpu: whether Ray has given this task a GPU.
        threads: of torch.
        mailbox: takes messages.

    Returns:
        ("done", packed result) or ("failed", packed exception).
    """
    import ray

    name = run[0].hex()
    node = ray.get_runtime_context().get_node_id()
    here = Begun(pid=os.getpid(), node=node, up="torch" in sys.modules)
    tell = _Teller(name, number, here, mailbox)
    tell.say(None)  # before all that may hang, such as imports from another machine's disk

    import torch

    from bayesnn.executors.protocol import Context
    from bayesnn.executors.sending import packed, packed_error, unpacked

    tell.is_up()
    torch.set_num_threads(threads)
    if name not in _held:
        _held.clear()  # the last run's data go before the new come
        work, shared, settings = unpacked(ray.get(run[0]))
        settings.apply()
        _held[name] = work, shared
    work, shared = _held[name]
    device = torch.device("cuda" if gpu else "cpu")
    try:
        result = work(shared, unpacked(item), Context(device=device, report=tell))
        return "done", packed(result, "a result")
    except Exception as error:  # noqa: BLE001  # the caller raises it
        return "failed", packed_error(error)


class _Teller:
    """Says messages without waiting for answers: these are looked at before the next message."""

    def __init__(self, run: str, number: int, begun: Begun, mailbox: Any) -> None:
        from bayesnn.executors.sending import packed
        from bayesnn.executors.throttle import Throttle

        self._run, self._number, self._begun, self._mailbox = run, number, begun, mailbox
        self._answer: Any = None
        self._stopped = False
        self._throttle = Throttle(lambda message: self.say(packed(message, "a message")))

    def __call__(self, message: Any) -> bool:
        """Say a message, if it is time to.

        Returns:
            Whether to stop.
        """
        self._throttle(message)
        return self._stopped

    def is_up(self) -> None:
        """Say that the process has come up, if it was not."""
        if not self._begun.up:
            self._begun = replace(self._begun, up=True)
            self.say(None)

    def say(self, message: Any) -> None:
        """Say a message, or nothing where the mailbox hangs: the work goes on."""
        import ray

        if self._answer is not None:
            try:
                self._stopped = ray.get(self._answer, timeout=1.0) or self._stopped
            except ray.exceptions.GetTimeoutError:
                return  # the caller will end it, and then there is an answer
            except ray.exceptions.RayActorError:
                pass  # it is starting again
        self._answer = self._mailbox.say.remote(self._run, self._number, self._begun, message)


def killed(pid: int) -> bool:
    """End a process of Ray's on this node, if it is there still.

    Args:
        pid: its number.

    Returns:
        Whether it was there.
    """
    import signal

    try:
        if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            return False  # the number has gone to another process
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    os.kill(pid, signal.SIGKILL)
    return True
