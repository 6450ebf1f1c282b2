"""Flats and darks from files of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.data.file_start import NPY, is_tiff, read_start
from ct.data.hdf5_file import hdf5_contents, hdf5_stack
from ct.data.npy_file import load_npy, npy_stack
from ct.data.scan_options import ScanOptions
from ct.data.sinogram import SinogramFile
from ct.data.sinogram_file import by_rows
from ct.data.stack import Stack
from ct.data.tiff_file import tiff_stack

_WHAT = "readings [detectors], [readings, detectors] or [readings, slices, detectors]"


def with_air(file: SinogramFile, options: ScanOptions) -> SinogramFile:
    """Return a sinogram file with flats and darks that the user names, in place of its own.

    Args:
        file: the sinograms.
        options: the files: .npy, TIFF (a file or a folder) or HDF5 as FILE::DATASET.

    Returns:
        The same file with them.

    Raises:
        ValueError: a file cannot be read, or its readings do not fit the sinogram's detectors and
            slices.
    """
    named: dict[str, Any] = {
        name: _fitted(_opened(path), file.shape, "--" + name.replace("_", "-"))
        for name in ("flats", "flats_after", "darks")
        if (path := getattr(options, name)) is not None
    }
    return replace(file, **named)


def _opened(path: Path) -> Stack:
    name, _, dataset = str(path).partition("::")
    path = Path(name)
    if dataset:
        read_start(path)
        return hdf5_stack(hdf5_contents(path), dataset, what=_WHAT)
    if path.is_dir():
        return tiff_stack(path)
    start = read_start(path)
    if is_tiff(start):
        return tiff_stack(path)
    if start.startswith(NPY):
        values = load_npy(path)
        if values.ndim == 1:
            return Stack(path=path, shape=(1, 1, len(values)), load=lambda _: values[None], kind="")
        return npy_stack(path, _WHAT)
    raise ValueError(
        f"{path}: expected readings in .npy, TIFF or HDF5 (as FILE::DATASET), found another kind "
        "of file."
    )


def _fitted(stack: Stack, shape: tuple[int, int, int], option: str) -> Stack:
    """Return readings as [slices, readings, detectors]."""
    slices, _, detectors = shape
    first, rows, columns = stack.shape
    if columns != detectors:
        raise ValueError(
            f"{option}: {stack.path}: expected {detectors} detectors, as the sinogram has, found "
            f"{columns} (shape {list(stack.shape)}); give readings of the same detector."
        )
    if slices > 1 and rows == slices:
        return by_rows(stack)  # images of the whole detector
    if rows == 1 or first == 1:

        def all_readings(_: int) -> NDArray[Any]:
            return np.concatenate([stack.read(index) for index in range(first)])

        return replace(stack, shape=(slices, first * rows, columns), load=all_readings)
    raise ValueError(
        f"{option}: {stack.path}: expected images of {slices} slices × {detectors} detectors, as "
        f"the sinogram has, found {rows} × {columns} (shape {list(stack.shape)})."
    )
