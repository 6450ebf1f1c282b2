"""How busy other work keeps the machine, before a measurement begins."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/stat")
_IDLE = slice(3, 5)  # idle, and waiting for a disk
_COUNTED = 8  # what comes after these fields is in them already


def busy_cores(seconds: float = 2.0) -> float:
    """Return how many cores other work keeps busy, while this process does nothing.

    Args:
        seconds: for which to look.

    Returns:
        Cores, on average over that time; where the system does not tell, the load of the last
        minute, which remembers what this process has done in it.
    """
    if not _STAT.exists():
        return os.getloadavg()[0]
    before = _ticks(_STAT.read_text())
    time.sleep(seconds)
    after = _ticks(_STAT.read_text())
    idle, total = (new - old for new, old in zip(after, before, strict=True))
    return (os.cpu_count() or 1) * (1 - idle / total) if total else 0.0


def _ticks(stat: str) -> tuple[int, int]:
    """Return the idle ticks and all ticks of all cores since the start, of /proc/stat's text."""
    counted = [int(word) for word in stat.splitlines()[0].split()[1 : 1 + _COUNTED]]
    return sum(counted[_IDLE]), sum(counted)
