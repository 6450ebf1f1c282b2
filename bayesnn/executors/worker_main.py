"""What runs in a worker process: it takes items from a pipe and sends results back.

Messages are tuples. From the caller: ("run", packed (work, shared, settings)), ("item", number,
packed item), ("stop", number). To the caller: ("ready",), ("said" | "done" | "failed", number,
packed message, result or exception).
"""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import torch

from bayesnn.executors.protocol import Context
from bayesnn.executors.same_end import end_if_left
from bayesnn.executors.sending import packed, packed_error, unpacked
from bayesnn.executors.throttle import Throttle

_LOOK = 1.0  # seconds between two looks at whether the caller lives


def main(descriptor: int, device: str, threads: int, caller: int) -> None:
    """Serve until the caller closes the pipe, or is gone.

    Args:
        descriptor: of the pipe to the caller.
        device: where work computes.
        threads: of torch.
        caller: number of the caller's process.
    """
    os.dup2(2, 1)  # what work prints must not get into the caller's output
    torch.set_num_threads(threads)
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    stopped: set[int] = set()
    listening = (connection, inbox, stopped, caller)
    threading.Thread(target=_listen, args=listening, daemon=True).start()
    _tell(connection, "ready")
    work, shared = None, None
    while True:
        kind, *content = inbox.get()
        if kind == "run":
            work = shared = None  # the last run's data go before the new come
            work, shared, settings = unpacked(content[0])
            settings.apply()
        else:
            number, item = content
            _tell(connection, *_done(connection, work, shared, number, item, place, stopped))


def _listen(
    connection: Connection[Any, Any],
    inbox: SimpleQueue[tuple[Any, ...]],
    stopped: set[int],
    caller: int,
) -> None:
    """Take messages while work goes on; where the caller is gone, end even in midst of it."""
    try:
        while True:
            while not connection.poll(_LOOK):
                # a process forked from the caller may hold the pipe open: its end says too little
                end_if_left(caller)
            message = connection.recv()
            if message[0] == "stop":
                stopped.add(message[1])
            else:
                inbox.put(message)
    except (EOFError, OSError):
        os._exit(0)


def _tell(connection: Connection[Any, Any], *message: object) -> None:
    try:
        connection.send(message)
    except OSError:
        os._exit(0)  # the caller is gone


def _done(
    connection: Connection[Any, Any],
    work: Any,
    shared: Any,
    number: int,
    item: bytes,
    device: torch.device,
    stopped: set[int],
) -> tuple[str, int, bytes]:
    """Return the message that says how the work on an item ended."""
    stopped.discard(number)
    say = Throttle(lambda message: _tell(connection, "said", number, packed(message, "a message")))

    def report(message: Any) -> bool:
        say(message)
        return number in stopped

    try:
        result = work(shared, unpacked(item), Context(device=device, report=report))
        return "done", number, packed(result, "a result")
    except Exception as error:  # noqa: BLE001  # the caller raises it
        return "failed", number, packed_error(error)
