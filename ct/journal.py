"""A file of lines that are whole or do not count: what long work has finished."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows, where two runs of the same work are not told apart
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class JournalLines:
    """What a journal holds.

    Attributes:
        records: of the lines that are as they were written, in order.
        damaged: numbers of the lines that are not, from 1.
    """

    records: list[dict[str, Any]]
    damaged: list[int]


class Journal:
    """JSON lines that are only ever appended; the last one counts once its line break is there.

    Before the JSON of each line stands its digest. While the journal is open it is locked, so that
    a second process cannot write the same work.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            BlockingIOError: another process has it open.
            OSError: it cannot be made.
        """
        while True:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_at(path):
                    return
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # whoever had it removed it before it was locked here

    def lines(self) -> JournalLines:
        """Return what is on record, and forget a line that was being written at the end."""
        size = os.fstat(self._file).st_size
        content = os.pread(self._file, size, 0)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < size:
            os.ftruncate(self._file, len(whole))
        found = [_record(line) for line in whole.split(b"\n")[:-1]]
        return JournalLines(
            records=[record for record in found if record is not None],
            damaged=[number for number, record in enumerate(found, 1) if record is None],
        )

    def append(self, record: dict[str, Any]) -> None:
        """Put one record on disk.

        Raises:
            OSError: there is no room; what was on record before stays.
        """
        text = json.dumps(record).encode()
        line = b"%s %s\n" % (_digest(text), text)
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

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False


def _record(line: bytes) -> dict[str, Any] | None:
    """Return what a line holds; None where it is not what was written."""
    digest, _, text = line.partition(b" ")
    if digest != _digest(text):
        return None
    record: dict[str, Any] = json.loads(text)
    return record


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
