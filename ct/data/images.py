"""Reading images: .npy (one slice or a stack), grey PNG and TIFF, DICOM files and series."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ct.data.dicom_images import read_dicom, read_dicom_series
from ct.data.file_start import NPY, PNG, is_dicom, is_tiff, read_start
from ct.data.honest_size import check_claim
from ct.data.image_stack import ImageStack
from ct.data.npy_file import npy_stack
from ct.data.shown import shown
from ct.data.stack import Stack
from ct.data.tiff_file import is_tiff_folder, tiff_stack

_PNG_ERRORS = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow and what reads by it raise where a file is damaged."""


def read_image(path: str | os.PathLike[str]) -> ImageStack:
    """Read an image or a stack; what the file is, its content says and not its name.

    .npy holds [rows, columns] or [slices, rows, columns] and keeps its values, as TIFF does (one
    page a slice, or a folder of files). A PNG must be grey and gives its grey values (0…255 or
    0…65535). DICOM gives slope · stored + intercept, which is HU for CT, and its PixelSpacing; a
    folder of DICOM slices is one stack, sorted by position. Slices stay on disk until they are
    read.

    Args:
        path: the file, or a folder of slices.

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
    image = _opened(Path(path))
    for index in range(image.shape[0]):
        _check_finite(image.read(index), f"{path}, slice {index}")
    return image


def _opened(path: Path) -> ImageStack:
    if path.is_dir():
        if is_tiff_folder(path):
            return _unitless(tiff_stack(path))
        return read_dicom_series(path)
    start = read_start(path)
    if start.startswith(NPY):
        return _unitless(npy_stack(path, "an array [rows, columns] or [slices, rows, columns]"))
    if start.startswith(PNG):
        return _unitless(_png(path))
    if is_tiff(start):
        return _unitless(tiff_stack(path))
    if is_dicom(start):
        return read_dicom(path)
    raise ValueError(
        f"{path}: expected an image (.npy, grey PNG or TIFF, or DICOM), found another kind of "
        "file; convert it to one of these."
    )


def _unitless(stack: Stack) -> ImageStack:
    grey = stack.whole and stack.kind != ".npy"
    return ImageStack(
        stack=stack, units="grey value" if grey else "", pixel_size=None, source=stack.path.name
    )


def _png(path: Path) -> Stack:
    from PIL import Image
    from skimage import io

    try:
        # from memory: where the file is damaged, the reader would leave it open
        content = path.read_bytes()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\..*|imageio\..*")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content), formats=["PNG"]) as header:
                check_claim(path, header.size, _png_bytes(header.mode), "a PNG")
            values = np.asarray(io.imread(BytesIO(content)))
    except (*_PNG_ERRORS, Image.DecompressionBombError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(
            f"{path}: expected a whole PNG, but it is damaged or truncated "
            f"({shown(error) or type(error).__name__}); save it again."
        ) from error
    if values.ndim != 2:
        raise ValueError(
            f"{path}: expected a grey PNG, found colour or transparency (shape {values.shape}); "
            "convert it to grey first."
        )
    return Stack(path=path, shape=(1, *values.shape), load=lambda _: values, kind="PNG", whole=True)


def _png_bytes(mode: str) -> int:
    """Return the bytes of a pixel while it is read; the grey modes are L, 1 and I;16."""
    return {"1": 2, "L": 2}.get(mode, 12)


def _check_finite(values: Float32[np.ndarray, "rows columns"], name: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name}: expected finite values, found {int(bad.sum())} NaN or infinite (the first "
            f"at row and column {first}); repair the image first."
        )
