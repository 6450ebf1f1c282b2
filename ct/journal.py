"""A file of lines that are whole or do not count: what long work has finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows, where two runs of the same work are not told apart
    fcntl = None  # type: ignore[assignment]


class Journal:
    """JSON lines that are only ever appended; the last one counts once its line break is there.

    While it is open it is locked, so that a second process cannot write the same work.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            BlockingIOError: another process has it open.
            OSError: it cannot be made.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._file)
            raise

    def lines(self) -> list[Any]:
        """Return what is on record, and forget a line that was being written at the end."""
        size = os.fstat(self._file).st_size
        content = os.pread(self._file, size, 0)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < size:
            os.ftruncate(self._file, len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, record: Any) -> None:
        """Put one record on disk.

        Raises:
            OSError: there is no room; what was on record before stays.
        """
        line = json.dumps(record).encode() + b"\n"
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                os.write(self._file, line[written:])  # says why the rest does not fit
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Close the file and let go of it."""
        os.close(self._file)
