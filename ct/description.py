"""What a file holds and what it is taken to be: the facts behind `bayesnn-ct info`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ct.data.file_start import read_start
from ct.data.image_stack import ImageStack
from ct.data.images import read_image
from ct.data.scan_input import ScanInput, open_scan
from ct.data.scan_options import ScanOptions
from ct.data.hdf5_file import plain
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_from_json


def describe_file(
    path: str | os.PathLike[str], options: ScanOptions | None = None
) -> dict[str, Any]:
    """Say what a sinogram, result or image file holds, as plain numbers and text.

    A .npy file is taken for a sinogram, because images of that kind need no explaining.

    Args:
        path: the file.
        options: what the user says of a sinogram.

    Returns:
        Facts by name, ready for JSON.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or contradicts itself.
    """
    path = Path(path)
    start = read_start(path)
    if start.startswith(b"\x89HDF") and _is_result(path):
        return _describe_result(path)
    if start.startswith((b"\x89HDF", b"\x93NUMPY")):
        return _describe_scan(open_scan(path, options))
    return _describe_image(read_image(path))


def _describe_scan(scan: ScanInput) -> dict[str, Any]:
    slices, views, detectors = scan.file.shape
    facts: dict[str, Any] = {
        "file": str(scan.file.path),
        "kind": "sinogram",
        "slices": slices,
        "views": views,
        "detectors": detectors,
        "values": scan.values,
        "values_from": scan.values_from,
        "units": scan.file.units or None,
        "minimum": scan.summary.minimum,
        "maximum": scan.summary.maximum,
        "mean": scan.summary.mean,
        "zeros": scan.summary.n_zero,
        "i0": scan.i0,
        "image_units": scan.image_units or None,
        "noise_std": scan.file.noise_std,
    }
    facts |= _geometry_facts(scan.grid, scan.scan)
    return {**facts, **{key: _unpacked(value) for key, value in scan.file.metadata.items()}}


def _describe_image(image: ImageStack) -> dict[str, Any]:
    slices, rows, columns = image.shape
    return {
        "file": image.source,
        "kind": "image",
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "units": image.units or None,
        "minimum": min(float(image.read(i).min()) for i in range(slices)),
        "maximum": max(float(image.read(i).max()) for i in range(slices)),
        "pixel_size_mm": image.pixel_size,
        "slice_spacing_mm": image.slice_spacing,
    }


def _is_result(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "mean" in file and "sinogram" not in file
    except OSError:
        return False  # the sinogram's reader says what is wrong


def _describe_result(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        facts: dict[str, Any] = {"file": str(path), "kind": "reconstruction"}
        facts |= {f"{name}_shape": list(data.shape) for name, data in file.items()}
        mean = file["mean"]
        facts["minimum"] = min(float(np.min(image)) for image in mean)
        facts["maximum"] = max(float(np.max(image)) for image in mean)
        attributes = {name: _unpacked(plain(value)) for name, value in file.attrs.items()}
    geometry = attributes.pop("geometry", None)
    for internal in ("json", "metadata", "single_image"):
        attributes.pop(internal, None)
    if geometry is not None:
        facts |= _geometry_facts(*geometry_from_json(json.dumps(geometry)))
    return {**facts, **attributes}


def _geometry_facts(grid: ImageGrid | None, scan: Scan | None) -> dict[str, Any]:
    if grid is None or scan is None:
        return {"geometry": None}
    return {
        "geometry": "parallel beam",
        "first_angle_degrees": float(np.rad2deg(scan.angles[0])),
        "last_angle_degrees": float(np.rad2deg(scan.angles[-1])),
        "detector_spacing_mm": scan.detector_spacing,
        "center": scan.center,
        "image_shape": list(grid.shape),
        "pixel_size_mm": grid.pixel_size,
    }


def _unpacked(value: Any) -> Any:
    """Return what a JSON attribute holds, and anything else as it is."""
    if not (isinstance(value, str) and value.startswith(("{", "["))):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
