"""Which files may be replaced: those that an earlier run of the same kind wrote, and no other."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from ct.data.hdf5_file import hdf5_contents
from ct.data.npy_file import load_npy

MARK = "bayesnn-ct"
"""What files of ours say of themselves, where their format has a place for it."""
_END = 2**16  # bytes at either end of a file among which the mark stands


def check_replaceable(path: Path, kind: str, is_of_kind: Callable[[Path], bool]) -> None:
    """Refuse to replace a file of another kind; an empty one holds nothing to lose.

    Args:
        path: the file to be written.
        kind: what will be written, for the message: "sinogram of ours".
        is_of_kind: whether a file that is there is of that kind.

    Raises:
        ValueError: a file is there, and is of another kind.
    """
    if path.exists() and path.stat().st_size and not is_of_kind(path):
        raise ValueError(f"{path}: exists and is no {kind}; name another output, or delete it.")


def has_format(path: Path, name: str) -> bool:
    """Return whether a file is HDF5 whose attribute `format` is that name and a version.

    Args:
        path: the file.
        name: such as "bayesnn-ct sinogram".
    """
    try:
        contents = hdf5_contents(path)
    except ValueError:
        return False
    return str(contents.attributes.get("format", "")).startswith(f"{name} ")


def is_marked(path: Path) -> bool:
    """Return whether a picture or volume of another program's format says that it is ours.

    Args:
        path: the file; one whose name ends in .gz is unpacked.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                ends = packed.read(_END)
        else:
            with path.open("rb") as file:
                ends = file.read(_END)
                file.seek(max(0, path.stat().st_size - _END), os.SEEK_SET)
                ends += file.read(_END)
    except (OSError, EOFError, zlib.error):
        return False
    return MARK.encode() in ends.lower()


def is_array(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether a file is a .npy array of float32 of that shape, as ours are.

    The format has no place for a mark.

    Args:
        path: the file.
        shape: of what will be written.
    """
    try:
        values = load_npy(path)
    except ValueError:
        return False
    return values.dtype == "<f4" and values.shape == shape
