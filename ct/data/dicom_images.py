"""DICOM images: one file, or a folder with the slices of one series."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from ct.data.file_start import files_in, is_dicom, read_start
from ct.data.image_stack import ImageStack
from ct.data.stack import Stack, stack_shape

_ERRORS = (
    AttributeError, EOFError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
"""What pydicom raises where a file is truncated, incomplete or compressed by an absent codec."""
_UNEVEN = 0.01
"""Slices may be this share of their spacing out of place."""


def read_dicom(path: Path) -> ImageStack:
    """Read a DICOM image; several frames are a stack.

    Args:
        path: the file.

    Returns:
        slope · stored + intercept, which is HU for CT, with PixelSpacing.

    Raises:
        ValueError: truncated, no image, in colour, or with pixels that are not square.
    """
    dataset = _dataset(path)
    values = _rescaled(dataset, path)
    shape = stack_shape(values.shape, path, "an image [rows, columns] or frames of one")
    frames = values.reshape(shape)
    return ImageStack(
        stack=Stack(path=path, shape=shape, load=lambda index: frames[index], kind="DICOM"),
        units=_units(dataset),
        pixel_size=_square_pixel_size(dataset, path),
        source=path.name,
    )


def read_dicom_series(folder: Path) -> ImageStack:
    """Read a folder of DICOM slices as one stack, sorted by their place along the stack's axis.

    Files that are not DICOM or hold no image are left out. Slices are read one at a time.

    Args:
        folder: holds the files.

    Returns:
        The stack, the first slice the one that lies lowest along the normal of the slices.

    Raises:
        ValueError: no slice, slices of several series or sizes, slices without a position, two at
            one place, or one that is missing between others.
    """
    paths = [path for path in files_in(folder) if is_dicom(read_start(path))]
    headers = [(path, _dataset(path, header_only=True)) for path in paths]
    slices = [(path, header) for path, header in headers if "Rows" in header]
    if not slices:
        raise ValueError(f"{folder}: expected DICOM slices, found no DICOM image in it.")
    _check_one_series(slices, folder)
    first_path, first = slices[0]
    places = np.array([_place(header, path) for path, header in slices])
    order = np.argsort(places, kind="stable")
    sorted_paths = [slices[i][0] for i in order]

    def load(index: int) -> Float32[np.ndarray, "rows columns"]:
        return _rescaled(_dataset(sorted_paths[index]), sorted_paths[index])

    return ImageStack(
        stack=Stack(
            path=folder,
            shape=(len(slices), int(first.Rows), int(first.Columns)),
            load=load,
            kind=f"DICOM series of {len(slices)} slices",
        ),
        units=_units(first),
        pixel_size=_square_pixel_size(first, first_path),
        slice_spacing=_even_spacing(places[order], sorted_paths),
        source=folder.name,
    )


@contextmanager
def _pydicom(path: Path) -> Iterator[None]:
    with warnings.catch_warnings():
        # odd but harmless header values; what matters is checked by who reads them
        warnings.filterwarnings("ignore", module=r"pydicom\..*")
        try:
            yield
        except _ERRORS as error:
            raise ValueError(
                f"{path}: expected a whole DICOM image, but its pixels cannot be read "
                f"({error or type(error).__name__})."
            ) from error


def _dataset(path: Path, *, header_only: bool = False) -> Any:
    import pydicom

    with _pydicom(path):
        return pydicom.dcmread(path, stop_before_pixels=header_only)


def _rescaled(dataset: Any, path: Path) -> Float32[np.ndarray, "*frames rows columns"]:
    with _pydicom(path):
        stored = np.asarray(dataset.pixel_array)
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ValueError(f"{path}: expected grey values, found a DICOM image in colour.")
    holder = _holder(dataset, "RescaleSlope", "PixelValueTransformationSequence")
    if holder is None:
        return stored.astype(np.float32)
    scaled = stored * float(holder.RescaleSlope) + float(holder.RescaleIntercept)
    return scaled.astype(np.float32)


def _units(dataset: Any) -> str:
    holder = _holder(dataset, "RescaleSlope", "PixelValueTransformationSequence")
    if holder is None:
        return ""
    # the type may be absent for CT, and is then HU by the standard's definition of the slope
    return str(holder.get("RescaleType", "HU" if dataset.get("Modality") == "CT" else "") or "")


def _square_pixel_size(dataset: Any, path: Path) -> float | None:
    holder = _holder(dataset, "PixelSpacing", "PixelMeasuresSequence")
    if holder is None or not holder.PixelSpacing:
        return None
    rows, columns = (float(size) for size in holder.PixelSpacing)
    if not rows > 0 or abs(rows - columns) > 1e-4 * rows:
        raise ValueError(
            f"{path}: expected square pixels, found {rows:g} mm × {columns:g} mm; resample the "
            "image to square pixels first."
        )
    return rows


def _holder(dataset: Any, keyword: str, sequence: str) -> Any:
    """Return what holds an attribute: the top, or what all frames of an enhanced file share."""
    if keyword in dataset:
        return dataset
    for shared in dataset.get("SharedFunctionalGroupsSequence", []):
        for item in shared.get(sequence, []):
            if keyword in item:
                return item
    return None


def _check_one_series(slices: list[tuple[Path, Any]], folder: Path) -> None:
    for what, names in (
        ("one series", ("SeriesInstanceUID",)),
        ("slices of one size", ("Rows", "Columns")),
        ("pixels of one size", ("PixelSpacing",)),
        ("one orientation", ("ImageOrientationPatient",)),
    ):
        held = [" × ".join(str(header.get(name, "none")) for name in names) for _, header in slices]
        found = list(dict.fromkeys(held))
        if len(found) > 1:
            raise ValueError(
                f"{folder}: expected {what}, found {len(found)} ({', '.join(found[:3])}); put each "
                "into a folder of its own."
            )


def _place(header: Any, path: Path) -> float:
    position, axes = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position is None or axes is None:
        raise ValueError(
            f"{path}: expected ImagePositionPatient and ImageOrientationPatient, by which slices "
            "are sorted; name one file instead of the folder."
        )
    row, column = np.array(axes[:3], dtype=float), np.array(axes[3:], dtype=float)
    return float(np.dot(np.cross(row, column), np.array(position, dtype=float)))


def _even_spacing(places: Float64[np.ndarray, " slices"], paths: list[Path]) -> float | None:
    if len(places) == 1:
        return None
    steps = np.diff(places)
    usual = float(np.median(steps))
    odd = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * abs(usual))
    if usual <= 0 or len(odd):
        at = int(odd[0]) if len(odd) else 0
        raise ValueError(
            f"{paths[at]}: expected slices {usual:g} mm apart, found {steps[at]:g} mm to the next "
            f"({paths[at + 1].name}); a slice is missing, doubled or of another series."
        )
    return usual
