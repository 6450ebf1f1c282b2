"""A store of fsspec's in memory whose writes fail midway and leave half an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem


class HalfWritingStore(MemoryFileSystem):  # type: ignore[misc]
    """Counts the writes, and fails in those whose numbers, from 1, are in `failing`."""

    protocol = "half-writing"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failing: ClassVar[set[int]] = set()
    keeps_halves: ClassVar[bool] = False
    writes: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return MemoryFileSystem._strip_protocol(path.removeprefix("half-writing://"))

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        """Write a local file, or its first half."""
        type(self).writes += 1
        content = Path(lpath).read_bytes()
        if self.writes in self.failing:
            self.pipe_file(rpath, content[: len(content) // 2])
            raise ConnectionResetError("connection reset by peer")
        self.pipe_file(rpath, content)

    def rm_file(self, path: str) -> None:
        """Remove an object, unless the connection is gone for that too."""
        if self.keeps_halves and self.writes in self.failing:
            raise ConnectionResetError("connection reset by peer")
        super().rm_file(path)

    @classmethod
    def fresh(cls, *, failing: set[int], keeps_halves: bool = False) -> None:
        """Forget everything, and say which writes will fail."""
        cls.store, cls.pseudo_dirs, cls.writes = {}, [""], 0
        cls.failing, cls.keeps_halves = failing, keeps_halves


register_implementation("half-writing", HalfWritingStore, clobber=True)
