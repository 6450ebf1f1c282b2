"""SINO.h5: sinograms with their geometry; and plain .npy sinograms, which have none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from bayesnn.files import atomic_write
from ct.data.file_start import read_start
from ct.data.npy_file import load_npy
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_from_json, geometry_to_json

FORMAT = "bayesnn-ct sinogram 1"


@dataclass(frozen=True, kw_only=True)
class SinogramFile:
    """What a sinogram file says of itself; the values stay on disk until `read`.

    Attributes:
        path: the file.
        shape: numbers of slices, views and detectors.
        angles: one a view, in radians; None where the file holds none.
        geometry: grid and scan; None where the file holds none.
        values: "line integrals" or "counts"; "" where the file does not say.
        units: units of the values, such as "HU·mm"; "" where unknown.
        image_units: units of an image made from them, such as "HU"; "" where unknown.
        noise_std: each slice's noise, in `units`, where it is known because it was simulated.
        metadata: whatever else the file says: source, seed, versions.
    """

    path: Path
    shape: tuple[int, int, int]
    angles: tuple[float, ...] | None = None
    geometry: tuple[ImageGrid, Scan] | None = None
    values: str = ""
    units: str = ""
    image_units: str = ""
    noise_std: tuple[float, ...] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def read(self, index: int) -> Float32[np.ndarray, "views detectors"]:
        """Return one slice.

        Raises:
            ValueError: the values are damaged on disk.
        """
        try:
            if not h5py.is_hdf5(self.path):
                stack = load_npy(self.path)
                return np.array(stack if stack.ndim == 2 else stack[index], dtype=np.float32)
            with h5py.File(self.path, "r") as file:
                data = file["sinogram"]
                return np.array(data[()] if data.ndim == 2 else data[index], dtype=np.float32)
        except OSError as error:
            raise ValueError(
                f"{self.path}: slice {index} cannot be read, the file is damaged ({error})."
            ) from error


def open_sinogram(path: str | os.PathLike[str]) -> SinogramFile:
    """Read what a sinogram file says of itself, without its values.

    HDF5 holds `sinogram` [slices, views, detectors] (or [views, detectors]), and may hold `angles`
    in radians and the attribute `geometry`; .npy holds the values alone.

    Args:
        path: the file; its content decides which kind it is.

    Returns:
        The description, with a `read` for each slice.

    Raises:
        ValueError: the file is missing, empty, truncated or foreign, or its geometry is no
            geometry of ours.
    """
    path = Path(path)
    start = read_start(path)
    if start.startswith(b"\x93NUMPY"):
        return SinogramFile(path=path, shape=_stack_shape(load_npy(path).shape, path))
    if not start.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ValueError(
            f"{path}: expected a sinogram (HDF5 or .npy), found another kind of file; "
            "`bayesnn-ct simulate` makes one from an image."
        )
    try:
        with h5py.File(path, "r") as file:
            return _describe(file, path)
    except OSError as error:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, but it is truncated or damaged ({error}); "
            "write or copy it again."
        ) from error


def write_sinogram(
    path: str | os.PathLike[str],
    slices: Iterable[tuple[Float32[np.ndarray, "views detectors"], float]],
    *,
    grid: ImageGrid,
    scan: Scan,
    n_slices: int,
    units: str,
    image_units: str,
    metadata: dict[str, Any],
) -> None:
    """Write SINO.h5 slice by slice; the file appears only when it is whole.

    Args:
        path: the file to write or replace.
        slices: line integrals and the standard deviation of their noise, both in `units`, one
            slice after the other.
        grid: the image that the scan is of.
        scan: the rays; its angles go into the dataset `angles`, in radians.
        n_slices: how many slices come.
        units: units of the line integrals.
        image_units: units of the image.
        metadata: further attributes: text, numbers, or anything that JSON can hold.

    Raises:
        ValueError: `path` cannot be written.
    """
    # from HDF5 1.10 on, attributes may be longer than 64 KiB: thousands of angles are
    newer = ("v110", "v110")
    with atomic_write(path) as temporary, h5py.File(temporary, "w", libver=newer) as file:
        file.attrs["format"] = FORMAT
        file.attrs["geometry"] = geometry_to_json(grid, scan)
        file.attrs["values"] = "line integrals"
        file.attrs["units"] = units
        file.attrs["image_units"] = image_units
        for key, value in metadata.items():
            simple = isinstance(value, str | int | float)
            file.attrs[key] = value if simple else json.dumps(value)
        file["angles"] = np.asarray(scan.angles, dtype=np.float64)
        shape = (n_slices, scan.n_views, scan.n_detectors)
        data = file.create_dataset("sinogram", shape, dtype="float32")
        noise_std = np.zeros(n_slices)
        for index, (values, std) in enumerate(slices):
            data[index], noise_std[index] = values, std
        file.attrs["noise_std"] = noise_std


def _describe(file: h5py.File, path: Path) -> SinogramFile:
    data = file.get("sinogram")
    if not isinstance(data, h5py.Dataset):
        names: list[str] = []
        file.visit(names.append)
        held = ", ".join(names[:5]) or "nothing"
        raise ValueError(
            f"{path}: expected a dataset 'sinogram', found {held}; copy the data into one named so."
        )
    if data.dtype.kind not in "iuf":
        raise ValueError(f"{path}: sinogram: expected real numbers, found dtype {data.dtype}.")
    attributes = {key: plain(value) for key, value in file.attrs.items()}
    geometry = attributes.pop("geometry", None)
    noise_std = attributes.pop("noise_std", None)
    angles = file.get("angles")
    try:
        return SinogramFile(
            path=path,
            shape=_stack_shape(data.shape, path),
            angles=None if angles is None else tuple(np.asarray(angles, dtype=float).ravel()),
            geometry=None if geometry is None else geometry_from_json(str(geometry)),
            values=str(attributes.pop("values", "")),
            units=str(attributes.pop("units", "")),
            image_units=str(attributes.pop("image_units", "")),
            noise_std=None if noise_std is None else tuple(np.ravel(noise_std).tolist()),
            metadata=attributes,
        )
    except (TypeError, ValueError) as error:
        message = str(error)
        raise ValueError(message if str(path) in message else f"{path}: {message}") from error


def _stack_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    if len(shape) not in {2, 3} or 0 in shape:
        raise ValueError(
            f"{path}: expected a sinogram [views, detectors] or [slices, views, detectors], found "
            f"shape {list(shape)}; reshape it."
        )
    slices, views, detectors = shape if len(shape) == 3 else (1, *shape)
    return slices, views, detectors


def plain(value: Any) -> Any:
    """Return an HDF5 attribute as Python's own number, text or list."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
