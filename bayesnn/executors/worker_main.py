"""What runs in a worker process: it takes items from a pipe and sends results back.

Messages are tuples. From the caller: ("run", packed (work, shared, settings)), ("item", number,
packed item), ("stop", number). To the caller: ("ready",), ("said" | "done" | "failed", number,
packed message, result or exception).
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import torch

from bayesnn.executors.protocol import Context
from bayesnn.executors.sending import packed, packed_error, unpacked
from bayesnn.executors.throttle import Throttle


def main(descriptor: int, device: str, threads: int) -> None:
    """Serve until the caller closes the pipe.

    Args:
        descriptor: of the pipe to the caller.
        device: where work computes.
        threads: of torch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's; it ends this process
    os.dup2(2, 1)  # what work prints must not get into the caller's output
    torch.set_num_threads(threads)
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    stopped: set[int] = set()
    threading.Thread(target=_listen, args=(connection, inbox, stopped), daemon=True).start()
    connection.send(("ready",))
    work, shared = None, None
    while True:
        kind, *content = inbox.get()
        if kind == "run":
            work = shared = None  # the last run's data go before the new come
            work, shared, settings = unpacked(content[0])
            settings.apply()
        else:
            number, item = content
            connection.send(_done(connection, work, shared, number, item, place, stopped))


def _listen(
    connection: Connection[Any, Any], inbox: SimpleQueue[tuple[Any, ...]], stopped: set[int]
) -> None:
    """Take messages while work goes on; where the caller is gone, end even in midst of it."""
    try:
        while True:
            message = connection.recv()
            if message[0] == "stop":
                stopped.add(message[1])
            else:
                inbox.put(message)
    except (EOFError, OSError):
        os._exit(0)


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
    say = Throttle(lambda message: connection.send(("said", number, packed(message, "a message"))))

    def report(message: Any) -> bool:
        say(message)
        return number in stopped

    try:
        result = work(shared, unpacked(item), Context(device=device, report=report))
        return "done", number, packed(result, "a result")
    except Exception as error:  # noqa: BLE001  # the caller raises it
        return "failed", number, packed_error(error)
