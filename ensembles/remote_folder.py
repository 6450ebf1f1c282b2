"""A folder of tensor files at an address that fsspec knows: a bucket, a server, memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from torch import Tensor

from ensembles.tensor_file import (
    DamagedFileError,
    MissingFileError,
    read_tensor_file,
    write_tensor_file,
)


class RemoteFolder:
    """A folder at an fsspec address.

    Object stores show an object once it is whole. Where a store does not, the file's digest does
    not fit until it is. There is no lock: two writers at one address are not told apart.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        try:
            self._files, self._root = url_to_fs(self._address)
        except Exception as error:  # each kind of address has errors of its own
            raise ValueError(
                f"{address}: expected a path, or an address that fsspec knows; {_said(error)}."
            ) from error

    def __str__(self) -> str:
        return self._address

    def names(self) -> list[str]:
        """Return the names of the files."""
        with self._saying("cannot be listed"):
            self._files.invalidate_cache()
            try:
                paths = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rsplit("/", 1)[-1] for path in paths)

    def read(self, name: str, *, file_format: str, version: int) -> tuple[dict[str, Tensor], Any]:
        """Return a file's tensors and content, by way of a temporary file."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            with self._saying(f"{name} cannot be read"):
                try:
                    self._files.get_file(f"{self._root}/{name}", str(local))
                except FileNotFoundError as error:
                    raise MissingFileError(f"{self._address}/{name}: no such file.") from error
            try:
                return read_tensor_file(local, file_format=file_format, version=version)
            except DamagedFileError as error:
                raise DamagedFileError(self._here(error, local)) from error
            except ValueError as error:
                raise ValueError(self._here(error, local)) from error

    def write(
        self,
        name: str,
        tensors: Mapping[str, Tensor],
        content: Mapping[str, Any],
        *,
        file_format: str,
        version: int,
    ) -> None:
        """Write a temporary file, and send it."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / name
            write_tensor_file(local, tensors, content, file_format=file_format, version=version)
            try:
                with self._saying(f"{name} cannot be written"):
                    self._files.put_file(str(local), f"{self._root}/{name}")
            except ValueError:
                self.remove(name)  # what there is of it, if any
                raise

    def remove(self, name: str) -> None:
        """Remove a file, if that can be."""
        try:
            self._files.rm_file(f"{self._root}/{name}")
        except Exception:  # noqa: BLE001 each kind of store has errors of its own
            return

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, where the store has folders; nothing is locked.

        Yields:
            Nothing.
        """
        try:
            self._files.makedirs(self._root, exist_ok=True)
        except Exception as error:
            raise OSError(f"{self._address}: {_said(error)}") from error
        yield

    def _here(self, error: ValueError, local: Path) -> str:
        return str(error).replace(str(local.parent), self._address)

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        try:
            yield
        except MissingFileError:
            raise
        except Exception as error:
            raise ValueError(f"{self._address}: {what} ({_said(error)}).") from error


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
