"""Reading idx files, the format of MNIST and Fashion-MNIST, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

UNSIGNED_BYTE = 0x08
MOST_BYTES = 2**28  # of values: five times the 60,000 images of Fashion-MNIST
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, ndim: int) -> NDArray[np.uint8]:
    """Return the bytes of an idx file as an array; nothing in the file is run.

    The format: two zero bytes, the type of the values, the number of dimensions, each dimension as
    a big-endian whole number of 32 bits, then the values, the last dimension fastest. No more is
    read, or unpacked, than the header declares.

    Args:
        path: of the file, plain or gzipped.
        ndim: dimensions it must have: 3 for images, 1 for labels.

    Returns:
        The values, unsigned bytes.

    Raises:
        ValueError: no file, another format, type or number of dimensions, an impossible size, or
            values that end early or go on.

    Source:
        Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                return _values(file, path, ndim)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a readable idx file, plain or gzipped, got {error}; fetch it again."
        ) from None


def _values(file: IO[bytes], path: Path, ndim: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    wanted = bytes([0, 0, UNSIGNED_BYTE, ndim])
    if magic != wanted:
        raise ValueError(
            f"{path}: expected an idx file of unsigned bytes in {ndim} dimension(s), beginning "
            f"with {wanted.hex()}, got {magic.hex() or 'nothing'}; check which file it is."
        )
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise ValueError(
            f"{path}: expected {ndim} dimension(s) in the header, got {len(header)} of "
            f"{4 * ndim} bytes; fetch it again."
        )
    shape = struct.unpack(f">{ndim}I", header)
    size = math.prod(shape)
    if not 0 < size <= MOST_BYTES:
        raise ValueError(
            f"{path}: expected 1 to {MOST_BYTES} values, the header declares {size} in shape "
            f"{shape}; fetch it again."
        )
    values = file.read(size + 1)
    if len(values) != size:
        found = f"only {len(values)}" if len(values) < size else "more"
        raise ValueError(
            f"{path}: expected {size} values in shape {shape}, got {found}; fetch it again."
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
