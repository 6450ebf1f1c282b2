"""MATLAB files of versions 5 and 7.3."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import scipy.io

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.hdf5_files import change_structure
from benchmarks.fuzzing.hdf5_seeds import in_memory
from benchmarks.fuzzing.mutations import ANY, mutated, put_extreme
from benchmarks.fuzzing.scan_readers import describe_file
from benchmarks.fuzzing.small_scan import BINS, DEGREES, INTEGRALS
from ct.data.sinogram_file import open_sinogram

PARAMETERS = {
    "angles": DEGREES,
    "distanceSourceOrigin": 40.0,
    "distanceSourceDetector": 60.0,
    "distanceUnit": "mm",
    "pixelSizePost": 0.3,
    "effectivePixelSizePost": 0.2,
    "numDetectorsPost": float(BINS),
    "scanner": "a scanner",
}
SCAN = {"CtDataFull": {"sinogram": INTEGRALS[0], "parameters": PARAMETERS, "type": "2D"}}
OTHERS = {
    "m": INTEGRALS[1],
    "cells": np.array([1, "a", INTEGRALS[0]], dtype=object),
    "t": "text",
    "e": np.zeros((0, 3)),
}
_HEADER, _TEXT = 128, 116


def saved(content: dict[str, Any], *, packed: bool) -> bytes:
    """Return a file of version 5."""
    file = BytesIO()
    scipy.io.savemat(file, content, do_compression=packed)
    return b"MATLAB 5.0 MAT-file, of no date".ljust(_TEXT) + file.getvalue()[_TEXT:]


def saved_v73(content: dict[str, Any]) -> bytes:
    """Return a file of version 7.3, which is HDF5 behind a text."""
    data = in_memory(lambda file: _fill(file, content))
    start = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM"
    return start.ljust(512, b"\0") + data


def _fill(group: h5py.Group, content: dict[str, Any]) -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            _fill(group.create_group(name), value)
        elif isinstance(value, str):
            group[name] = np.array([[ord(letter)] for letter in value], dtype=np.uint16)
            group[name].attrs["MATLAB_class"] = np.bytes_("char")
        else:
            values = np.atleast_2d(np.asarray(value, dtype=np.float64)).T
            how = {"compression": "gzip"} if values.size > 50 else {}
            group.create_dataset(name, data=values, **how)


def seeds_v5() -> list[bytes]:
    """Return whole files of version 5."""
    return [
        saved(SCAN, packed=False),
        saved(SCAN, packed=True),
        saved({**SCAN, **OTHERS}, packed=False),
        saved({"m": INTEGRALS[0]}, packed=True),
        saved(OTHERS, packed=False),
        saved(
            {"s": scipy.sparse.eye_array(5), "z": np.eye(2) * 1j, "b": np.eye(2) > 0}, packed=False
        ),
    ]


def seeds_v73() -> list[bytes]:
    """Return whole files of version 7.3."""
    both = {**SCAN, "m": INTEGRALS[0], "t": "text"}
    return [saved_v73(SCAN), saved_v73({"m": INTEGRALS[0]}), saved_v73(both), saved_v73(both)]


def change_tag(rng: Random, data: bytearray) -> None:
    """Write an extreme number into a tag, or into what a matrix says of its dimensions."""
    at = _HEADER + 8 * rng.randrange(max((min(len(data), 1500) - _HEADER) // 8, 1))
    put_extreme(rng, data, at + rng.choice((0, 4)), 4, "little")


def change_packed(rng: Random, data: bytearray) -> None:
    """Unpack the first variable, change it, and pack it again."""
    try:
        kind, length = struct.unpack_from("<II", data, _HEADER)
        if kind != 15:
            return
        content = bytearray(zlib.decompress(bytes(data[_HEADER + 8 : _HEADER + 8 + length])))
    except (struct.error, zlib.error):
        return
    content[:0] = bytes(_HEADER)
    for _ in range(rng.choice((1, 2))):
        rng.choice((change_tag, *ANY))(rng, content)
        if len(content) <= _HEADER:
            return
    packed = zlib.compress(bytes(content[_HEADER:]) + bytes(rng.choice((0, 0, 0, 10**6))))
    data[_HEADER:] = struct.pack("<II", 15, len(packed)) + packed


def mutate_v5(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file of version 5."""
    return mutated(rng, whole, change_tag, change_packed)


def mutate_v73(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file of version 7.3."""
    return mutated(rng, whole, change_structure)


def read(path: Path) -> None:
    """As the challenges' struct, and as a matrix of another file."""
    try:
        describe_file(path)
    finally:
        stack = open_sinogram(path, dataset="m").stack
        for index in range(stack.shape[0]):
            stack.read(index)


MATLAB_5 = FileFormat(
    name="matlab5",
    suffix=".mat",
    seeds=seeds_v5,
    mutate=mutate_v5,
    read=read,
    readers="describe_file, open_sinogram",
)
MATLAB_73 = FileFormat(
    name="matlab73",
    suffix=".mat",
    seeds=seeds_v73,
    mutate=mutate_v73,
    read=read,
    readers="describe_file, open_sinogram",
)
