"""What a file holds and what it is taken to be: the facts behind `bayesnn-ct info`."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from bayesnn.plain_json import parse_json
from ct.data.file_start import HDF5, PNG, files_in, is_dicom, read_start
from ct.data.hdf5_file import hdf5_contents, hdf5_stack
from ct.data.image_stack import ImageStack
from ct.data.images import read_image
from ct.data.scan_input import ScanInput, open_scan
from ct.data.scan_notes import angular_coverage, scan_notes
from ct.data.scan_options import ScanOptions
from ct.geometry import FanBeam, ImageGrid, Scan, field_of_view
from ct.geometry_json import geometry_from_json
from ct.noise import estimate_noise_std


def describe_file(
    path: str | os.PathLike[str], options: ScanOptions | None = None
) -> dict[str, Any]:
    """Say what a sinogram, result or image file holds, as plain numbers and text.

    .npy and TIFF are taken for sinograms, because images of these kinds need no explaining; PNG
    and DICOM are images.

    Args:
        path: the file, or a folder of slices.
        options: what the user says of a sinogram.

    Returns:
        Facts by name, ready for JSON; `notes` says what looks odd.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or contradicts itself.
    """
    path = Path(path)
    start = read_start(files_in(path)[0] if path.is_dir() else path)
    if is_dicom(start) or start.startswith(PNG):
        return _describe_image(read_image(path))
    if start.startswith(HDF5) and _is_result(path):
        return _describe_result(path)
    return _describe_scan(open_scan(path, options))


def _describe_scan(scan: ScanInput) -> dict[str, Any]:
    slices, views, detectors = scan.file.shape
    facts: dict[str, Any] = {
        "file": str(scan.file.path),
        "kind": "sinogram",
        "format": scan.file.stack.kind,
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
    }
    if scan.values == "counts":
        facts |= _counts_facts(scan)
    facts["image_units"] = scan.image_units or None
    facts["noise_std"] = scan.file.noise_std
    facts |= _slice_facts(scan) | _geometry_facts(scan.grid, scan.scan)
    facts |= {key: _unpacked(value) for key, value in scan.file.metadata.items()}
    return {**facts, "notes": scan_notes(scan)}


def _counts_facts(scan: ScanInput) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "i0": scan.i0,
        "flats": 0 if scan.file.flats is None else scan.file.flats.shape[1],
        "darks": 0 if scan.file.darks is None else scan.file.darks.shape[1],
    }
    if scan.calibration is None:
        return facts
    response = scan.calibration.response(scan.file.shape[0] // 2)
    good = ~response.broken
    return facts | {
        "i0_above_dark": float(np.median(response.i0[..., good])),
        "dark_level": float(np.median(response.dark[good])),
        "gain": scan.calibration.gain,
        "gain_from": scan.calibration.gain_from or None,
        "broken_bins": scan.calibration.faults(),
    }


def _slice_facts(scan: ScanInput) -> dict[str, Any]:
    """Return what the middle slice's line integrals look like, where there are any."""
    if scan.values == "counts" and scan.calibration is None:
        return {}
    measured = scan.read(scan.file.shape[0] // 2)
    std = measured.noise_std
    try:
        seen = None if std is None else np.where(np.isfinite(std), std.dtype.type(1), np.inf)
        estimate = estimate_noise_std(measured.values, seen)
    except ValueError:
        estimate = None
    facts: dict[str, Any] = {"estimated_noise_std": estimate}
    if scan.values == "counts":
        facts |= {
            "missing_rays": measured.n_missing,
            "raised_readings": measured.n_raised,
            "largest_line_integral": float(measured.values.max()),
        }
    if scan.values == "counts" or std is not None:  # of each ray
        known = None if std is None else float(np.median(std[np.isfinite(std)]))
        facts["median_noise_std"] = known
    return facts


def _describe_image(image: ImageStack) -> dict[str, Any]:
    slices, rows, columns = image.shape
    return {
        "file": image.source,
        "kind": "image",
        "format": image.stack.kind,
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "units": image.units or None,
        "minimum": min(float(image.read(index).min()) for index in range(slices)),
        "maximum": max(float(image.read(index).max()) for index in range(slices)),
        "pixel_size_mm": image.pixel_size,
        "slice_spacing_mm": image.slice_spacing,
    }


def _is_result(path: Path) -> bool:
    try:
        datasets = hdf5_contents(path).datasets
    except ValueError:
        return False  # the sinogram's reader says what is wrong
    return "mean" in datasets and "sinogram" not in datasets


def _describe_result(path: Path) -> dict[str, Any]:
    contents = hdf5_contents(path)
    facts: dict[str, Any] = {"file": str(path), "kind": "reconstruction"}
    facts |= {f"{name}_shape": list(data.shape or ()) for name, data in contents.datasets.items()}
    images = hdf5_stack(contents, "mean", what="images [slices, rows, columns]")
    ranges = [
        (float(one.min()), float(one.max())) for one in map(images.read, range(images.shape[0]))
    ]
    facts["minimum"] = min(lowest for lowest, _ in ranges)
    facts["maximum"] = max(highest for _, highest in ranges)
    attributes = {name: _unpacked(value) for name, value in contents.attributes.items()}
    geometry = attributes.pop("geometry", None)
    for internal in ("json", "metadata", "single_image", "work"):
        attributes.pop(internal, None)
    if geometry is not None:
        facts |= _geometry_facts(*geometry_from_json(json.dumps(geometry)))
    return {**facts, **attributes}


def _geometry_facts(grid: ImageGrid | None, scan: Scan | None) -> dict[str, Any]:
    if grid is None or scan is None:
        return {"geometry": None}
    covered, needed = angular_coverage(scan)
    facts: dict[str, Any] = {
        "geometry": "fan beam" if isinstance(scan, FanBeam) else "parallel beam",
        "first_angle_degrees": math.degrees(scan.angles[0]),
        "last_angle_degrees": math.degrees(scan.angles[-1]),
        "covered_degrees": covered,
        "needed_degrees": needed,
        "detector_spacing_mm": scan.detector_spacing,
        "center": scan.center,
    }
    if isinstance(scan, FanBeam):
        facts |= {
            "source_origin_mm": scan.source_origin,
            "source_detector_mm": scan.source_detector,
            "magnification": scan.magnification,
            "source_offset_mm": scan.source_offset,
            "detector_shape": "curved" if scan.curved else "flat",
        }
    return facts | {
        "field_of_view_mm": 2 * field_of_view(scan),
        "image_shape": list(grid.shape),
        "image_width_mm": grid.shape[1] * grid.pixel_size,
        "pixel_size_mm": grid.pixel_size,
    }


def _unpacked(value: Any) -> Any:
    """Return what a JSON attribute holds, and anything else as it is."""
    if not (isinstance(value, str) and value.startswith(("{", "["))):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value
