"""Reading a DICOM file's elements and pixels without taking its word for their sizes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ct.data.honest_size import check_claim, memory_for
from ct.data.honest_stream import HonestStream

_META = 132  # where the elements that say how the file is packed begin
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
"""Kinds of elements whose length takes four bytes."""
_PLAIN = b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
"""The element that says that what follows is not packed."""
_PIXELS = 0x7FE0
_LONGEST = 2**16
"""Bytes of an element other than pixels that is looked at: pydicom makes objects of its values,
each hundreds of times as large as in the file."""


def read_dataset(path: Path, *, header_only: bool = False) -> Any:
    """Return a file's elements.

    Args:
        path: the file.
        header_only: leave the pixels out.

    Raises:
        ValueError: it is deflated, and unpacks to far more than a file of its size may.
        Exception: whatever pydicom and zlib raise where it is damaged.
    """
    import pydicom

    with path.open("rb") as file, HonestStream(_unpacked(file, path)) as stream:
        dataset = pydicom.dcmread(stream, stop_before_pixels=header_only)
    for tag in list(dataset.keys()):
        # what is not yet converted has a length
        length = getattr(dataset.get_item(tag), "length", 0)
        if tag.group != _PIXELS and length > _LONGEST:
            del dataset[tag]
    return dataset


def stored_pixels(dataset: Any, path: Path) -> Shaped[np.ndarray, "*frames rows columns"]:
    """Return the pixels as they are stored.

    Args:
        dataset: from `read_dataset`.
        path: the file, for messages.

    Raises:
        ValueError: in colour, or more pixels than the file can hold.
        Exception: whatever pydicom raises where they are damaged.
    """
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ValueError(f"{path}: expected grey values, found a DICOM image in colour.")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    shape = (frames, int(dataset.Rows), int(dataset.Columns))
    check_claim(path, shape, max(int(dataset.BitsAllocated) // 8, 1), "an image")
    with _no_larger_than(shape[1] * shape[2]):
        return np.asarray(dataset.pixel_array)


@contextmanager
def _no_larger_than(n_pixels: int) -> Iterator[None]:
    """Let Pillow, which unpacks JPEG, refuse pictures that are larger than the image."""
    from PIL import Image

    usual = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(n_pixels, 1)
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(f"a packed picture is larger than {n_pixels} pixels") from error
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _unpacked(file: BufferedReader, path: Path) -> BufferedReader | BytesIO:
    """Return a file as if it had not been deflated, if it was; or else the file itself."""
    file.seek(_META)
    deflated = _DEFLATED in file.read(2**12)
    end = min(_end_of_meta(file), path.stat().st_size) if deflated else 0
    file.seek(_META)
    if _DEFLATED not in file.read(max(end - _META, 0)):
        file.seek(0)
        return file
    most, unpacker = memory_for(path) // 8, zlib.decompressobj(-zlib.MAX_WBITS)
    file.seek(end)
    content = unpacker.decompress(file.read(), most)
    if not unpacker.eof:
        found = "more" if len(content) >= most else "an end within them"
        raise ValueError(
            f"{path}: expected elements of at most {most} bytes when unpacked, found {found}; "
            "export it again without compression."
        )
    return BytesIO(bytes(128) + b"DICM" + _PLAIN + content)


def _end_of_meta(file: BufferedReader) -> int:
    """Return where the elements of group 2 end, which are never packed."""
    place = _META
    while True:
        file.seek(place)
        start = file.read(12)
        if len(start) < 8 or start[:2] != b"\2\0":
            return place
        if start[4:6] in _LONG:
            place += 12 + int(struct.unpack_from("<I", start.ljust(12, b"\0"), 8)[0])
        else:
            place += 8 + int(struct.unpack_from("<H", start, 6)[0])
