"""How often work is heard."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 0.2  # seconds between two messages of one item


class Throttle:
    """Passes on a message now and then, the first at once."""

    def __init__(self, send: Callable[[object], None]) -> None:
        """Keep what sends a message."""
        self._send, self._due = send, time.monotonic()

    def __call__(self, message: Callable[[], object]) -> None:
        """Make and send the message if it is time to."""
        now = time.monotonic()
        if now >= self._due:
            self._send(message())
            self._due = now + INTERVAL
