"""Ctrl-C that waits for a good moment, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ctrl_c_waits() -> Iterator[Callable[[], bool]]:
    """Take note of the first Ctrl-C, and let the second one end the work at once.

    Signals reach the main thread alone, and whoever has a handler of their own keeps it: elsewhere
    nothing is changed.

    Yields:
        What says whether Ctrl-C was pressed; who sees it has to raise KeyboardInterrupt soon.
    """
    pressed = False

    def first(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    signal.signal(signal.SIGINT, first)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
