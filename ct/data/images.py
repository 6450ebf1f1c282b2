"""Reading images: .npy (one slice or a stack), grey PNG, DICOM."""

from __future__ import annotations

import os
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

_DICOM_ERRORS = (
    AttributeError, EOFError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
"""What pydicom raises where a file is truncated, incomplete or compressed by an absent codec."""


@dataclass(frozen=True, kw_only=True)
class ImageStack:
    """Slices of one size in their own units; a large .npy file stays on disk until it is read.

    Attributes:
        values: numbers [slices, rows, columns] of the file's own type; `read` gives floats.
        units: "HU" for DICOM CT, "grey value" for PNG, "" where the file does not say.
        pixel_size: side of a pixel in mm; None where the file does not say.
        source: the file's name, for messages and metadata.
    """

    values: Shaped[np.ndarray, "slices rows columns"]
    units: str
    pixel_size: float | None
    source: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of slices, rows and columns."""
        slices, rows, columns = self.values.shape
        return slices, rows, columns

    def read(self, index: int) -> Float32[np.ndarray, "rows columns"]:
        """Return one slice as float32."""
        return np.array(self.values[index], dtype=np.float32)


def read_image(path: str | os.PathLike[str]) -> ImageStack:
    """Read an image or a stack; what the file is, its content says and not its name.

    .npy holds [rows, columns] or [slices, rows, columns] and keeps its values. A PNG must be grey
    and gives its grey values (0…255 or 0…65535). DICOM gives slope · stored + intercept, which is
    HU for CT, and its PixelSpacing.

    Args:
        path: the file.

    Returns:
        The slices, checked: real and finite.

    Raises:
        ValueError: the file is missing, empty, truncated or of another kind, in colour, has
            pixels that are not square, or holds NaN, infinite or complex values.

    Example:
        >>> from pydicom.data import get_testdata_file
        >>> image = read_image(get_testdata_file("CT_small.dcm", download=False))
        >>> image.shape, image.units, image.pixel_size
        ((1, 128, 128), 'HU', 0.661468)
    """
    path = Path(path)
    start = read_start(path)
    if start.startswith(b"\x93NUMPY"):
        stack = ImageStack(
            values=_as_stack(load_npy(path), path), units="", pixel_size=None, source=path.name
        )
    elif start.startswith(b"\x89PNG\r\n\x1a\n"):
        stack = _read_png(path)
    elif start[128:132] == b"DICM":
        stack = _read_dicom(path)
    else:
        raise ValueError(
            f"{path}: expected an image (.npy, grey PNG or DICOM), found another kind of file; "
            "convert it to one of these."
        )
    for index in range(stack.shape[0]):
        _check_finite(stack.values[index], f"{path}, slice {index}")
    return stack


def read_start(path: Path) -> bytes:
    """Return a file's first bytes, by which its kind is known.

    Raises:
        ValueError: the file is missing, a folder, unreadable or empty.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, found a folder; name a file in it.")
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; check the path.") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}).") from error
    if not start:
        raise ValueError(f"{path}: the file is empty; write or copy it again.")
    return start


def load_npy(path: Path) -> Shaped[np.ndarray, "*shape"]:
    """Return the real numbers of a .npy file, left on disk until they are used.

    Raises:
        ValueError: it is truncated, or holds objects, text or complex numbers.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise ValueError(
            f"{path}: expected a whole .npy file of numbers, but it is damaged, truncated or holds "
            f"Python objects ({error}); save the array again with numpy.save."
        ) from error
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: expected real numbers, found dtype {values.dtype}; save the real part or "
            "the magnitude."
        )
    return np.asarray(values) if values.ndim == 0 else values


def _read_png(path: Path) -> ImageStack:
    from skimage import io

    try:
        values = np.asarray(io.imread(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path}: expected a whole PNG, but it is damaged or truncated ({error})."
        ) from error
    if values.ndim != 2:
        raise ValueError(
            f"{path}: expected a grey PNG, found colour or transparency (shape {values.shape}); "
            "convert it to grey first."
        )
    return ImageStack(values=values[None], units="grey value", pixel_size=None, source=path.name)


def _read_dicom(path: Path) -> ImageStack:
    import pydicom

    with warnings.catch_warnings():
        # odd but harmless header values; what matters is checked below
        warnings.filterwarnings("ignore", module=r"pydicom\..*")
        try:
            dataset = pydicom.dcmread(path)
            stored = np.asarray(dataset.pixel_array)
        except _DICOM_ERRORS as error:
            raise ValueError(
                f"{path}: expected a whole DICOM image, but its pixels cannot be read "
                f"({error or type(error).__name__})."
            ) from error
    if int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise ValueError(f"{path}: expected grey values, found a DICOM image in colour.")
    slope, intercept, units = _rescaling(dataset)
    return ImageStack(
        values=_as_stack((stored * slope + intercept).astype(np.float32), path),
        units=units,
        pixel_size=_square_pixel_size(dataset, path),
        source=path.name,
    )


def _rescaling(dataset: Any) -> tuple[float, float, str]:
    holder = _holder(dataset, "RescaleSlope", "PixelValueTransformationSequence")
    if holder is None:
        return 1.0, 0.0, ""
    # the type may be absent for CT, and is then HU by the standard's definition of the slope
    units = str(holder.get("RescaleType", "HU" if dataset.get("Modality") == "CT" else "") or "")
    return float(holder.RescaleSlope), float(holder.RescaleIntercept), units


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


def _as_stack(
    values: Shaped[np.ndarray, "*shape"], path: Path
) -> Shaped[np.ndarray, "slices rows columns"]:
    if values.ndim not in {2, 3} or values.size == 0:
        raise ValueError(
            f"{path}: expected an array [rows, columns] or [slices, rows, columns], found shape "
            f"{values.shape}; reshape it."
        )
    return values[None] if values.ndim == 2 else values


def _check_finite(values: Shaped[np.ndarray, "rows columns"], name: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name}: expected finite values, found {int(bad.sum())} NaN or infinite (the first "
            f"at row and column {first}); repair the image first."
        )
