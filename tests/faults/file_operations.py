"""Kill −9 in the very middle of a file operation, of any that touches a folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ensembles.tensor_file

_EVENTS = (
    "open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.rmdir", "os.truncate",
    "shutil.rmtree", "tempfile.mkstemp",
)  # fmt: skip
_WRITES = ("write", "pwrite")
_SYNCS = ("fsync", "fdatasync", "posix_fallocate")


def die_in_operation(folder: Path, number: int) -> Callable[[], int]:
    """Count the operations of this process in a folder from now on, and die in one of them.

    Operations are what Python reports to audit hooks, before it is done; each `fsync` and its
    like; and the writing of a tensor file or to an open file, in which it dies with half written.

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

    save_file = ensembles.tensor_file.save_file

    def half_saved(tensors: Any, path: Path, **options: Any) -> None:
        save_file(tensors, path, **options)
        if count():
            os.truncate(path, path.stat().st_size // 2)
            _die()

    ensembles.tensor_file.save_file = half_saved
    for names, dying in ((_WRITES, _dying_half_written), (_SYNCS, _dying_before)):
        for name in set(names) & set(vars(os)):
            setattr(os, name, dying(getattr(os, name), count))
    sys.addaudithook(audited)
    return lambda: done


def _dying_half_written(
    write: Callable[..., int], is_last: Callable[[], bool]
) -> Callable[..., int]:
    def call(file: int, data: Any, *place: int) -> int:
        if is_last():
            write(file, data[: len(data) // 2], *place)
            _die()
        return write(file, data, *place)

    return call


def _dying_before(function: Callable[..., Any], is_last: Callable[[], bool]) -> Callable[..., Any]:
    def call(*words: Any) -> Any:
        if is_last():
            _die()
        return function(*words)

    return call


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
