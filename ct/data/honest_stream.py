"""An open file that keeps its reader from reading for ever, and from asking for too much."""

from __future__ import annotations

import time
from io import BufferedReader, BytesIO
from types import TracebackType

_SECONDS, _BYTES_PER_SECOND = 4.0, 10e6  # of processor time, far more than reading takes


class HonestStream:
    """What a reader of Python's gets in place of the file.

    Python makes room for all that is asked for before it looks at what there is, so that a length
    of 4 GB in a file of 1 KB would take 4 GB. And a file of a million empty parts keeps its reader
    busy for minutes, so that reading has a time limit that grows with the file.
    """

    def __init__(self, stream: BufferedReader | BytesIO) -> None:
        """Take over an open stream."""
        self._stream = stream
        self._end = stream.seek(0, 2)
        stream.seek(0)
        self._deadline = time.process_time() + _SECONDS + self._end / _BYTES_PER_SECOND

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most as many as are left.

        Raises:
            ValueError: the time is over.
        """
        if time.process_time() > self._deadline:
            raise ValueError("reading it does not come to an end")
        left = max(self._end - self._stream.tell(), 0)
        return self._stream.read(left if size is None or size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place.

        Returns:
            Where that is, from the start.
        """
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def __enter__(self) -> HonestStream:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()
