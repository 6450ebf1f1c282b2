"""Processes that the system lets write small files only, as a quota or a full disk would."""

from __future__ import annotations

import sys

_LIMITED = """
import os, resource, sys
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def python_with_small_files(most: int) -> list[str]:
    """Return the start of a command that runs Python with files of at most so many bytes.

    The limit is set in a process of its own: code between fork and exec would run in a copy of this
    one, whose threads may hold locks.
    """
    return [sys.executable, "-c", _LIMITED, str(most)]
