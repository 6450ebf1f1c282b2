"""TIFF: pages, strips, tiles and packed values, with entries that claim anything."""

from __future__ import annotations

import struct
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
import tifffile

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import mutated, put_extreme
from benchmarks.fuzzing.scan_readers import read_scan_and_image
from benchmarks.fuzzing.small_scan import COUNTS, IMAGE, INTEGRALS


def _written(values: np.ndarray, **how: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, values, photometric="minisblack", **how)
    return file.getvalue()


def seeds() -> list[bytes]:
    """Return whole files."""
    large = np.tile(INTEGRALS[0], (3, 4))
    return [
        _written(COUNTS),
        _written(INTEGRALS[0]),
        _written(IMAGE, byteorder=">"),
        _written(INTEGRALS, bigtiff=True),
        _written(COUNTS, imagej=True),
        _written(large, tile=(16, 16)),
        _written(large, compression="zlib", predictor=False),
        _written(large, rowsperstrip=5),
        _written(np.tile(COUNTS[0], (3, 4)), tile=(16, 16), compression="zlib"),
        _written(COUNTS, compression="zlib", metadata=None),
    ]


def change_entry(rng: Random, data: bytearray) -> None:
    """Write an extreme number into one entry of a directory."""
    order = "<" if data[:1] == b"I" else ">"
    big = bytes(data[2:4]) in {b"+\0", b"\0+"}
    try:
        directory = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        count = struct.unpack_from(order + ("Q" if big else "H"), data, directory)[0]
    except (OverflowError, struct.error):
        return
    entry = (
        directory + (8 if big else 2) + (20 if big else 12) * rng.randrange(min(max(count, 1), 40))
    )
    part, width = rng.choice((
        (0, 2),
        (2, 2),
        (4, 8 if big else 4),
        (12 if big else 8, 8 if big else 4),
        (8, 2),
    ))
    put_extreme(rng, data, entry + part, width, "little" if order == "<" else "big")


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    return mutated(rng, whole, change_entry)


TIFF = FileFormat(
    name="tiff",
    suffix=".tif",
    seeds=seeds,
    mutate=mutate,
    read=read_scan_and_image,
    readers="describe_file, read_image",
)
