"""Kill −9 in the very middle of a file operation, of any that touches a folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ensembles.tensor_file

_EVENTS = ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "tempfile.mkstemp")


def die_in_operation(folder: Path, number: int) -> Callable[[], int]:
    """Count the operations of this process in a folder from now on, and die in one of them.

    Operations are what Python reports to audit hooks, before it is done; each `fsync`; and the
    writing of a tensor file, in which it dies with half of the file written.

    Args:
        folder: the folder.
        number: of the operation, from 1; 0 for none.

    Returns:
        What says how many operations there were.
    """
    done = 0

    def count() -> bool:
        nonlocal done
        done += 1
        return done == number

    def audited(event: str, words: tuple[Any, ...]) -> None:
        if event in _EVENTS and any(str(folder) in str(word) for word in words) and count():
            _die()

    save_file, fsync = ensembles.tensor_file.save_file, os.fsync

    def half_saved(tensors: Any, path: Path, **options: Any) -> None:
        save_file(tensors, path, **options)
        if count():
            os.truncate(path, path.stat().st_size // 2)
            _die()

    def counted_fsync(file: int) -> None:
        if count():
            _die()
        fsync(file)

    ensembles.tensor_file.save_file = half_saved
    os.fsync = counted_fsync
    sys.addaudithook(audited)
    return lambda: done


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
