"""A small scan, and files of it as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

SLICES, VIEWS, BINS = 4, 12, 9
ANGLES = np.arange(VIEWS) * 15.0
VALUES = np.random.default_rng(0).integers(500, 4000, (SLICES, VIEWS, BINS)).astype(np.uint16)
FLATS = np.random.default_rng(1).normal(5000, 30, (10, SLICES, BINS)).astype(np.float32)
DARKS = np.random.default_rng(2).normal(100, 3, (8, SLICES, BINS)).astype(np.float32)
PARAMETERS = {
    "angles": ANGLES,
    "distanceSourceOrigin": 40.0,
    "distanceSourceDetector": 60.0,
    "distanceUnit": "mm",
    "pixelSizePost": 0.3,
    "effectivePixelSizePost": 0.2,
    "numDetectorsPost": BINS,
}


def matlab(path: Path, struct: dict[str, Any], *, version: str = "5") -> Path:
    if version == "5":
        scipy.io.savemat(path, struct)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        write_v73(file, struct)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def write_v73(group: Any, fields: dict[str, Any]) -> None:
    """Write structs, numbers and text as MATLAB does: columns first, text as 16-bit codes."""
    for name, value in fields.items():
        if isinstance(value, dict):
            write_v73(group.create_group(name), value)
        elif isinstance(value, str):
            group[name] = np.array([[ord(letter)] for letter in value], dtype=np.uint16)
            group[name].attrs["MATLAB_class"] = np.bytes_("char")
        else:
            group[name] = np.atleast_2d(np.asarray(value, dtype=np.float64)).T
