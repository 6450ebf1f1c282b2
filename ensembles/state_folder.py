"""A folder of tensor files: on a local disk, or at any address that fsspec knows."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ensembles.tensor_file import read_tensor_file, write_tensor_file

try:
    import fcntl
except ImportError:  # not on Windows, where two writers are not told apart
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"
_HALF_WRITTEN = (".*.safetensors*", ".tmp*")  # by names of ours, and of safetensors' own
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of some network file systems


@runtime_checkable
class StateFolder(Protocol):
    """Tensor files by name; a file that was not written whole is told from one that was."""

    def names(self) -> list[str]:
        """Return the names of the files, sorted; none where there is no folder yet."""
        ...

    def read(self, name: str, *, file_format: str, version: int) -> tuple[dict[str, Tensor], Any]:
        """Return a file's tensors and content; errors are those of `read_tensor_file`."""
        ...

    def write(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        content: Mapping[str, Any],
        *,
        file_format: str,
        version: int,
    ) -> None:
        """Write or replace a file; raise ValueError where that is not possible."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if it is there and can be removed."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Return a context in which nobody else writes here, as far as that can be known.

        Entering it makes the folder. It raises BlockingIOError where somebody else is at it, and
        another OSError where nothing can be written.
        """
        ...


def state_folder(address: str | os.PathLike[str]) -> StateFolder:
    """Return the folder of an address.

    Args:
        address: a path, or an address such as `s3://bucket/fit`. `file://` is a local path.

    Returns:
        The folder; nothing is made yet.

    Raises:
        ValueError: fsspec does not know such addresses, or needs a package for them.

    Example:
        >>> str(state_folder("fits/first"))
        'fits/first'
        >>> str(state_folder("memory://fits/first"))
        'memory://fits/first'
    """
    text = os.fspath(address)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" not in text:
        return LocalFolder(Path(text))
    from ensembles.remote_folder import RemoteFolder  # fsspec is not needed for local folders

    return RemoteFolder(text)


class LocalFolder:
    """A folder on a local disk: files appear whole or not at all, and one process writes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def names(self) -> list[str]:
        """Return the names of the files."""
        return sorted(path.name for path in self._path.glob("[!.]*"))

    def read(self, name: str, *, file_format: str, version: int) -> tuple[dict[str, Tensor], Any]:
        """Return a file's tensors and content."""
        return read_tensor_file(self._path / name, file_format=file_format, version=version)

    def write(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        content: Mapping[str, Any],
        *,
        file_format: str,
        version: int,
    ) -> None:
        """Write beside the file's place, and rename."""
        path = self._path / name
        write_tensor_file(path, tensors, content, file_format=file_format, version=version)

    def remove(self, name: str) -> None:
        """Remove a file, if that can be."""
        try:
            (self._path / name).unlink()
        except OSError:
            return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, lock it, and clear away what a killed process was writing.

        The lock goes with the process, however that ends.

        Yields:
            Nothing.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(lock)
            with tempfile.TemporaryFile(dir=self._path) as probe:
                probe.write(b"room")
            for pattern in _HALF_WRITTEN:
                for path in self._path.glob(pattern):
                    path.unlink(missing_ok=True)
            yield
        finally:
            os.close(lock)


def _lock(file: int) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
