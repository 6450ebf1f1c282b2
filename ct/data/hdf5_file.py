"""Datasets of HDF5 files as slices that stay on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ct.data.stack import Stack, check_real, in_bands, stack_shape

SINOGRAM = "a sinogram [views, detectors] or [slices, views, detectors]"


@contextmanager
def opened_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read.

    Args:
        path: the file.

    Yields:
        The open file.

    Raises:
        ValueError: truncated or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, but it is truncated or damaged ({error}); "
            "write or copy it again."
        ) from error


def hdf5_stack(path: Path, name: str, *, slice_axis: int = 0, what: str = SINOGRAM) -> Stack:
    """Open a dataset of two or three dimensions as a stack.

    Args:
        path: the file.
        name: of the dataset.
        slice_axis: the axis along which the slices lie, 0 or 1; along 1 they are read in bands.
        what: what was expected, for the message.

    Returns:
        The slices; a matrix is one.

    Raises:
        ValueError: no such dataset, no real numbers, or of another number of dimensions.
    """
    with opened_hdf5(path) as file:
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            raise ValueError(
                f"{path}: expected a dataset {name!r}, found {datasets_named(file)}; say --dataset "
                "and its name."
            )
        full, dtype, n_dims = data.shape, data.dtype, data.ndim
        chunks = f" in chunks of {data.chunks}" if data.chunks else ""
    check_real(dtype, Path(f"{path}: {name}"))
    slices, rows, columns = stack_shape(full, Path(f"{path}: {name}"), what)
    kind = f"HDF5{chunks}"

    def cut(first: int, last: int) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][:, first:last])

    def load(index: int) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            return np.asarray(file[name][()] if n_dims == 2 else file[name][index])

    if slice_axis == 1 and n_dims == 3:
        by_rows = in_bands(cut, rows, slices * columns * dtype.itemsize)
        shape = (rows, slices, columns)
        return Stack(path=path, shape=shape, load=by_rows, kind=kind, whole=dtype.kind in "biu")
    shape = (slices, rows, columns)
    return Stack(path=path, shape=shape, load=load, kind=kind, whole=dtype.kind in "biu")


def datasets_named(file: h5py.File) -> str:
    """Return the datasets of a file with their shapes, the first few, for messages.

    Args:
        file: the open file.

    Returns:
        Such as "exchange/data (181×2×640), exchange/theta (181)", or "nothing".
    """
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim > 0:
            found.append(f"{name} ({'×'.join(map(str, item.shape))})")

    file.visititems(visit)
    return ", ".join(found[:5]) + (", …" if len(found) > 5 else "") or "nothing"


def plain(value: Any) -> Any:
    """Return an HDF5 attribute as Python's own number, text or list."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def text_of(item: Any, name: str) -> str:
    """Return a text attribute of a dataset; "" where it is absent."""
    value = plain(item.attrs.get(name, ""))
    return str(value[0] if isinstance(value, list) and value else value)
