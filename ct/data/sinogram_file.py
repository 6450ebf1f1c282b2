"""Opening sinograms of every format, and writing SINO.h5."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from bayesnn.files import atomic_write
from ct.data.file_start import HDF5, MATLAB, NPY, is_tiff, read_start
from ct.data.hdf5_file import SINOGRAM
from ct.data.hdf5_sinogram import NOISE_STD, OWN_FORMAT, open_hdf5_sinogram
from ct.data.matlab_sinogram import open_matlab_sinogram
from ct.data.npy_file import npy_stack
from ct.data.sinogram import SinogramFile
from ct.data.stack import Stack, in_bands
from ct.data.tiff_file import is_tiff_folder, tiff_stack
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_to_json

FORMAT = f"{OWN_FORMAT} 1"


def open_sinogram(
    path: str | os.PathLike[str], *, dataset: str | None = None, projections: bool = False
) -> SinogramFile:
    """Read what a sinogram file says of itself, without its values.

    HDF5 (our own, Data Exchange, or any other with a dataset of sinograms), MATLAB, TIFF (one
    file, or a folder of files) and .npy; the content decides which, not the name. Stacks are
    [slices, views, detectors], unless `projections`.

    Args:
        path: the file or folder.
        dataset: name of the dataset (HDF5) or variable (MATLAB), where it is not the usual one.
        projections: whether the first axis of a stack is the views': one image a view.

    Returns:
        The description, with a `read` for each slice.

    Raises:
        ValueError: the file is missing, empty, truncated or foreign, or its geometry is no
            geometry of ours.
    """
    path = Path(path)
    if path.is_dir():
        return _without_geometry(_folder(path), dataset, projections=projections)
    start = read_start(path)
    if start.startswith(MATLAB):
        return open_matlab_sinogram(path, dataset=dataset)
    if start.startswith(HDF5) or h5py.is_hdf5(path):
        return open_hdf5_sinogram(path, dataset=dataset, projections=projections)
    if start.startswith(NPY):
        return _without_geometry(npy_stack(path, SINOGRAM), dataset, projections=projections)
    if is_tiff(start):
        return _without_geometry(tiff_stack(path), dataset, projections=projections)
    raise ValueError(
        f"{path}: expected a sinogram (HDF5, MATLAB, TIFF or .npy), found another kind of file; "
        "`bayesnn-ct simulate` makes one from an image."
    )


def write_sinogram(
    path: str | os.PathLike[str],
    slices: Iterable[
        tuple[
            Float32[np.ndarray, "views detectors"],
            float | Float32[np.ndarray, "views detectors"] | None,
        ]
    ],
    *,
    grid: ImageGrid,
    scan: Scan,
    n_slices: int,
    units: str,
    image_units: str,
    metadata: dict[str, Any],
    values: str = "line integrals",
) -> None:
    """Write SINO.h5 slice by slice; the file appears only when it is whole.

    Args:
        path: the file to write or replace.
        slices: line integrals and the standard deviation of their noise, both in `units`, one
            slice after the other; the deviation is one number, or one a ray, or None for counts.
        grid: the image that the scan is of.
        scan: the rays; its angles go into the dataset `angles`, in radians.
        n_slices: how many slices come.
        units: units of the line integrals.
        image_units: units of the image.
        metadata: further attributes: text, numbers, or anything that JSON can hold.
        values: "line integrals" or "counts".

    Raises:
        ValueError: `path` cannot be written.
    """
    # from HDF5 1.10 on, attributes may be longer than 64 KiB: thousands of angles are
    newer = ("v110", "v110")
    with atomic_write(path) as temporary, h5py.File(temporary, "w", libver=newer) as file:
        file.attrs["format"] = FORMAT
        file.attrs["geometry"] = geometry_to_json(grid, scan)
        file.attrs["values"] = values
        file.attrs["units"] = units
        file.attrs["image_units"] = image_units
        for key, value in metadata.items():
            simple = isinstance(value, str | int | float)
            file.attrs[key] = value if simple else json.dumps(value)
        file["angles"] = np.asarray(scan.angles, dtype=np.float64)
        shape = (n_slices, scan.n_views, scan.n_detectors)
        data = file.create_dataset("sinogram", shape, dtype="float32")
        noise_std = np.zeros(n_slices)
        for index, (rays, std) in enumerate(slices):
            data[index] = rays
            if isinstance(std, np.ndarray):
                file.require_dataset(NOISE_STD, shape, dtype="float32")[index] = std
            elif std is not None:
                noise_std[index] = std
        if values == "line integrals" and NOISE_STD not in file:
            file.attrs["noise_std"] = noise_std


def by_rows(stack: Stack) -> Stack:
    """Return the rows of a stack's images as slices: projections become sinograms.

    Args:
        stack: [views, slices, detectors].

    Returns:
        [slices, views, detectors], read in bands of many slices at a time.
    """
    views, rows, columns = stack.shape

    def load(first: int, last: int) -> Float32[np.ndarray, "views rows columns"]:
        return np.stack([stack.read(view)[first:last] for view in range(views)])

    return replace(
        stack, shape=(rows, views, columns), load=in_bands(load, rows, views * columns * 4)
    )


def _folder(path: Path) -> Stack:
    if is_tiff_folder(path):
        return tiff_stack(path)
    raise ValueError(
        f"{path}: expected a sinogram file or a folder of TIFF files, found a folder of other "
        "files; name a file in it."
    )


def _without_geometry(stack: Stack, dataset: str | None, *, projections: bool) -> SinogramFile:
    if dataset is not None:
        raise ValueError(
            f"{stack.path}: --dataset names what HDF5 and MATLAB files hold, but this is "
            f"{stack.kind}; leave it out."
        )
    return SinogramFile(stack=by_rows(stack) if projections else stack)
