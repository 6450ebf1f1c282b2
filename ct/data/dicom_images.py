"""DICOM images: one file, or a folder with the slices of one series."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from ct.data.dicom_file import read_dataset, stored_pixels
from ct.data.file_start import files_in, is_dicom, read_start
from ct.data.image_stack import ImageStack
from ct.data.shown import shown
from ct.data.stack import Stack, stack_shape

_ERRORS = (
    ArithmeticError, AttributeError, AssertionError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, StopIteration, TypeError, ValueError, struct.error, zlib.error,
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
    with _pydicom(path):
        dataset = read_dataset(path)
        stored = stored_pixels(dataset, path)
        shape = stack_shape(stored.shape, path, "an image [rows, columns] or frames of one")
        frames, scale = stored.reshape(shape), _scale(dataset)
        return ImageStack(
            stack=Stack(
                path=path, shape=shape, load=lambda n: _rescaled(frames[n], scale), kind="DICOM"
            ),
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
    with _pydicom(folder):
        return _series(folder)


def _series(folder: Path) -> ImageStack:
    paths = [path for path in files_in(folder) if is_dicom(read_start(path))]
    headers = [(path, _header(path)) for path in paths]
    slices = [(path, header) for path, header in headers if "Rows" in header]
    if not slices:
        raise ValueError(f"{folder}: expected DICOM slices, found no DICOM image in it.")
    _check_one_series(slices, folder)
    first_path, first = slices[0]
    places = np.array([_place(header, path) for path, header in slices])
    if not np.isfinite(places).all():
        raise ValueError(f"{folder}: expected slices at finite positions, found others.")
    order = np.argsort(places, kind="stable")
    sorted_paths = [slices[i][0] for i in order]

    def load(index: int) -> Float32[np.ndarray, "rows columns"]:
        path = sorted_paths[index]
        with _pydicom(path):
            dataset = read_dataset(path)
            return _rescaled(stored_pixels(dataset, path), _scale(dataset))

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
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with warnings.catch_warnings():
        # odd but harmless header values; what matters is checked by who reads them
        warnings.filterwarnings("ignore", module=r"(pydicom|PIL)\..*")
        try:
            yield
        except (*_ERRORS, BytesLengthException, InvalidDicomError) as error:
            if type(error) is ValueError and str(error).startswith(str(path)):
                raise
            raise ValueError(
                f"{path}: expected a whole DICOM image, but it cannot be read "
                f"({shown(error) or type(error).__name__}); export it again."
            ) from error


def _header(path: Path) -> Any:
    with _pydicom(path):
        return read_dataset(path, header_only=True)


def _scale(dataset: Any) -> tuple[float, float] | None:
    holder = _holder(dataset, "RescaleSlope", "PixelValueTransformationSequence")
    if holder is None:
        return None
    return float(holder.RescaleSlope), float(holder.RescaleIntercept)


def _rescaled(
    stored: Shaped[np.ndarray, "rows columns"], scale: tuple[float, float] | None
) -> Float32[np.ndarray, "rows columns"]:
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
        if scale is None:
            return stored.astype(np.float32)
        return (stored * scale[0] + scale[1]).astype(np.float32)


def _units(dataset: Any) -> str:
    holder = _holder(dataset, "RescaleSlope", "PixelValueTransformationSequence")
    if holder is None:
        return ""
    # the type may be absent for CT, and is then HU by the standard's definition of the slope
    usual = "HU" if dataset.get("Modality") == "CT" else ""
    return shown(holder.get("RescaleType", usual) or "")


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
                f"{folder}: expected {what}, found {len(found)} ({shown(', '.join(found[:3]))}); "
                "put each into a folder of its own."
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
