"""Opening sinograms of every format, and writing SINO.h5."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from bayesnn.files import atomic_write
from ct.data.disk_room import check_room, reserve, write_at
from ct.data.file_start import MATLAB, NPY, is_hdf5, is_tiff, read_start
from ct.data.hdf5_file import SINOGRAM
from ct.data.hdf5_sinogram import NOISE_STD, OWN_FORMAT, open_hdf5_sinogram
from ct.data.matlab_sinogram import open_matlab_sinogram
from ct.data.npy_file import npy_stack
from ct.data.own_files import has_format
from ct.data.result_layout import create_result
from ct.data.sinogram import SinogramFile
from ct.data.stack import Stack, in_bands
from ct.data.tiff_file import is_tiff_folder, tiff_stack
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_to_json

FORMAT = f"{OWN_FORMAT} 1"
_NEWER = ("v110", "v110")  # from HDF5 1.10 on, attributes may be longer than 64 KiB
_STRUCTURE = 2**16


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
    if is_hdf5(path):
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
        ValueError: `path` cannot be written, or the disk is full.
    """
    remaining = iter(slices)
    first = next(remaining)
    shape = (n_slices, scan.n_views, scan.n_detectors)
    shapes = {"sinogram": shape}
    if isinstance(first[1], np.ndarray):
        shapes[NOISE_STD] = shape
    attributes = {
        "format": FORMAT,
        "geometry": geometry_to_json(grid, scan),
        "values": values,
        "units": units,
        "image_units": image_units,
        **{key: _simple(value) for key, value in metadata.items()},
    }
    noise_std = np.zeros(n_slices)
    known = values == "line integrals" and NOISE_STD not in shapes
    if known:
        attributes[NOISE_STD] = noise_std
    with atomic_write(path) as temporary, _said_of(path):
        # HDF5 does not survive a full disk: it makes the places, which are then filled without it
        check_room(temporary, 4 * len(shapes) * math.prod(shape) + _STRUCTURE)
        layout = create_result(temporary, shapes)
        with h5py.File(temporary, "r+", libver=_NEWER) as file:
            file["angles"] = np.asarray(scan.angles, dtype=np.float64)
            for key, value in attributes.items():
                file.attrs[key] = value
        with temporary.open("r+b") as raw:
            reserve(raw.fileno(), max(layout.size, temporary.stat().st_size))
            for index, (rays, std) in enumerate(itertools.chain([first], remaining)):
                _write(raw.fileno(), rays, layout.place("sinogram", index))
                if isinstance(std, np.ndarray):
                    _write(raw.fileno(), std, layout.place(NOISE_STD, index))
                elif std is not None:
                    noise_std[index] = std
        if known:
            with h5py.File(temporary, "r+", libver=_NEWER) as file:
                file.attrs.modify(NOISE_STD, noise_std)


def holds_sinogram(path: Path) -> bool:
    """Return whether a file is one that `write_sinogram` wrote; what it holds is not read."""
    return has_format(path, OWN_FORMAT)


@contextmanager
def _said_of(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder."
        ) from error


def _simple(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value)


def _write(file: int, values: Float32[np.ndarray, "views detectors"], offset: int) -> None:
    write_at(file, memoryview(np.ascontiguousarray(values, dtype="<f4").tobytes()), offset)


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
