"""Room on a disk: asked for before long work, and used to the last byte."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def check_room(path: Path, size: int) -> None:
    """Take room for a file, so that a full disk, a quota or a limit is found before the work.

    Args:
        path: the file; it is made, or replaced by one without content.
        size: its size in bytes.

    Raises:
        OSError: there is no such room; the message says how much there is.
    """
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise OSError(
            errno.ENOSPC, f"it takes {size / 1e9:.3g} GB, the disk has {free / 1e9:.3g} GB free"
        )
    with path.open("wb") as file:
        reserve(file.fileno(), size)


def reserve(file: int, size: int) -> None:
    """Make an open file `size` bytes long, with room on the disk where the system can say so.

    Raises:
        OSError: there is no such room.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def write_at(file: int, data: memoryview, offset: int) -> None:
    """Write all bytes at a place of an open file.

    Raises:
        OSError: there is no room.
    """
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
