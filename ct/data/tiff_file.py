"""TIFF: one image, a file of several pages, or a folder of files."""

from __future__ import annotations

import logging
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.data.file_start import files_in, is_tiff, read_start
from ct.data.honest_size import check_stack_claim
from ct.data.shown import shown
from ct.data.stack import Stack, check_real
from ct.data.tiff_directory import check_directories

_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What tifffile raises where a file is truncated or damaged."""


def tiff_stack(path: Path) -> Stack:
    """Open the images of a TIFF file, or of a folder of one-page TIFF files, as slices.

    A folder's files are sorted by the numbers in their names. Pages are read one by one.

    Args:
        path: the file or folder.

    Returns:
        The slices.

    Raises:
        ValueError: truncated or damaged, in colour, pages of different sizes, complex numbers, or
            an empty folder.
    """
    return _folder(path) if path.is_dir() else _file(path)


def is_tiff_folder(path: Path) -> bool:
    """Return whether a path is a folder whose first file is a TIFF."""
    return path.is_dir() and is_tiff(read_start(files_in(path)[0]))


def _file(path: Path) -> Stack:
    with _opened(path) as file:
        pages = [(page.shape, page.dtype) for page in file.pages]
        page = file.pages[0]
        # ImageJ writes large stacks as one page followed by the other slices' values
        alone = len(pages) == 1 and (page.is_imagej or page.is_shaped)
        hidden = file.series[0].shape if alone and len(file.series) == 1 else page.shape
        stored = np.dtype(page.dtype).newbyteorder(file.byteorder)
        _check_page(page, path)
        _check_whole(file, path, page.dataoffsets[0] + math.prod(hidden) * stored.itemsize)
    if any(other != pages[0] for other in pages):
        raise ValueError(
            f"{path}: expected pages of one size and type, found {_named(pages)}; split the file."
        )
    rows, columns = page.shape
    n_slices = len(pages) if hidden == page.shape else math.prod(hidden[:-2])
    check_stack_claim(path, (n_slices, rows, columns), stored.itemsize)
    first_value = page.dataoffsets[0]

    def load_page(index: int) -> NDArray[Any]:
        with _opened(path) as file:
            return np.asarray(file.pages[index].asarray())

    def load_hidden(index: int) -> NDArray[Any]:
        place = first_value + index * rows * columns * stored.itemsize
        values = np.fromfile(path, stored, rows * columns, offset=place)
        return values.reshape(rows, columns)

    return Stack(
        path=path,
        shape=(n_slices, rows, columns),
        load=load_page if hidden == page.shape else load_hidden,
        kind="TIFF" if n_slices == 1 else f"TIFF of {n_slices} pages",
        whole=page.dtype.kind in "biu",
    )


def _folder(path: Path) -> Stack:
    files = files_in(path)
    first = _file(files[0])
    if first.shape[0] != 1:
        raise ValueError(
            f"{files[0]}: expected one page in each file of a folder, found {first.shape[0]}; name "
            "the file itself."
        )
    for other in files[1:]:
        if not is_tiff(read_start(other)):
            raise ValueError(f"{other}: expected TIFF files alone in the folder, found another.")

    def load(index: int) -> NDArray[Any]:
        return _file(files[index]).load(0)

    return Stack(
        path=path,
        shape=(len(files), *first.shape[1:]),
        load=load,
        kind=f"folder of {len(files)} TIFF files",
        whole=first.whole,
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    complaints: list[str] = []
    logger, listener = logging.getLogger("tifffile"), _Listener(complaints)
    propagate = logger.propagate
    # what it logs would go to the terminal, and it reads on where the pages' chain is broken
    logger.propagate = False
    logger.addHandler(listener)
    try:
        check_directories(path)
        # OME's and others' descriptions may name more files, which are not opened
        with tifffile.TiffFile(path, is_ome=False, _multifile=False) as file:
            yield file
        broken = [text for text in complaints if "invalid" in text or "corrupt" in text]
        if broken:
            raise ValueError(broken[0])
    except _ERRORS as error:
        message = str(error)
        if message.startswith(f"{path}: expected"):
            raise
        raise ValueError(
            f"{path}: expected a whole TIFF, but it is truncated, damaged or packed in a way that "
            f"cannot be read ({shown(message) or type(error).__name__}); write or copy it again."
        ) from error
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


class _Listener(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        self.complaints.append(record.getMessage())


def _check_page(page: Any, path: Path) -> None:
    if page.samplesperpixel != 1 or len(page.shape) != 2:
        raise ValueError(
            f"{path}: expected grey pages, found colour or more dimensions (shape "
            f"{list(page.shape)}); convert them to grey first."
        )
    if page.dtype is None:
        raise ValueError("its values are of no type that NumPy has")
    check_real(np.dtype(page.dtype), path)


def _check_whole(file: Any, path: Path, end_of_hidden: int) -> None:
    size = path.stat().st_size
    end = max(
        offset + count
        for page in file.pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
    )
    if len(file.pages) == 1 and file.pages[0].is_contiguous and file.pages[0].compression == 1:
        end = max(end, end_of_hidden)
    if end > size:
        raise ValueError(
            f"{path}: expected {end} bytes, found {size}: the TIFF is truncated; copy it again."
        )


def _named(pages: list[tuple[tuple[int, ...], Any]]) -> str:
    kinds = dict.fromkeys(f"{'×'.join(map(str, shape))} {dtype}" for shape, dtype in pages)
    return ", ".join(list(kinds)[:3])
