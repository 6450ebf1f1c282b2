"""HDF5 files: what they hold, and their datasets as slices that stay on disk.

All reading is done by `ct.data.hdf5_process`; see there why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.data.hdf5_client import ask
from ct.data.honest_size import check_claim, check_stack_claim
from ct.data.shown import shown
from ct.data.stack import Stack, check_real, in_bands, stack_shape

SINOGRAM = "a sinogram [views, detectors] or [slices, views, detectors]"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset of an HDF5 file, without its values.

    Attributes:
        path: the file.
        size: of the file in bytes, by which a change is noticed.
        name: of the dataset, without a slash at its start.
        shape: its dimensions; None where it holds nothing.
        dtype: the type in words, NumPy's short ones for numbers.
        numbers: whether it holds real numbers.
        item_bytes: size of a value.
        chunks: shape of its chunks, if it has any.
        attributes: `units`, `axes` and `MATLAB_class`, those that it has.
        text: what it holds, where that is one text.
    """

    path: Path
    size: int
    name: str
    shape: tuple[int, ...] | None
    dtype: str
    numbers: bool
    item_bytes: int
    chunks: tuple[int, ...] | None
    attributes: Mapping[str, Any]
    text: str | None

    def word(self, name: str) -> str:
        """Return a text attribute; "" where it is absent."""
        value = self.attributes.get(name, "")
        return str(value[0] if isinstance(value, list) and value else value)

    def values(self) -> NDArray[Any]:
        """Return all values.

        Raises:
            ValueError: no numbers, more of them than the file can hold, or damaged.
        """
        check_real(np.dtype(self.dtype) if self.numbers else np.dtype("V1"), self._where)
        check_claim(self.path, self.shape or (), self.item_bytes, f"a dataset {self.name!r}")
        return self._read(None, 0, 0)

    def slices(self, first: int, last: int) -> NDArray[Any]:
        """Return what lies along the first axis from `first` to before `last`."""
        return self._read(0, first, last)

    def columns(self, first: int, last: int) -> NDArray[Any]:
        """Return what lies along the second axis from `first` to before `last`."""
        return self._read(1, first, last)

    @property
    def _where(self) -> Path:
        return Path(f"{self.path}: {self.name}")

    def _read(self, axis: int | None, first: int, last: int) -> NDArray[Any]:
        said, values = ask(
            self.path, name=self.name, axis=axis, first=first, last=last, size=self.size
        )
        return np.frombuffer(values, dtype=said["dtype"]).reshape(said["shape"])


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an HDF5 file holds, without its values.

    Attributes:
        path: the file.
        attributes: its own.
        datasets: by name, soft links among them.
        groups: names.
        outside: what lies in other files, and is not read: why, by name.
    """

    path: Path
    attributes: dict[str, Any]
    datasets: dict[str, Dataset]
    groups: tuple[str, ...]
    outside: dict[str, str]

    def find(self, name: str) -> Dataset | None:
        """Return a dataset; None where there is none.

        Raises:
            ValueError: it lies in another file.
        """
        name = name.strip("/")
        parents = [name[:place] for place, letter in enumerate(name) if letter == "/"]
        for one in (*parents, name):
            if one in self.outside:
                raise ValueError(
                    f"{self.path}: {shown(one)!r} is {self.outside[one]}, which is not followed; "
                    "name that file itself, or copy the values into this one."
                )
        return self.datasets.get(name)

    def named(self) -> str:
        """Return the datasets with their shapes, the first few, for messages.

        Returns:
            Such as "exchange/data (181×2×640), exchange/theta (181)", or "nothing".
        """
        found = [
            f"{shown(name, 40)} ({'×'.join(map(str, data.shape))})"
            for name, data in sorted(self.datasets.items())
            if data.shape
        ]
        return ", ".join(found[:5]) + (", …" if len(found) > 5 else "") or "nothing"


def hdf5_contents(path: Path) -> Contents:
    """Return what an HDF5 file holds.

    Raises:
        ValueError: truncated or damaged.
    """
    said, _ = ask(path)
    size = path.stat().st_size
    return Contents(
        path=path,
        attributes=said["attributes"],
        datasets={
            name: Dataset(path=path, size=size, **_as_tuples(data))
            for name, data in said["datasets"].items()
        },
        groups=tuple(said["groups"]),
        outside=said["outside"],
    )


def hdf5_stack(
    contents: Contents, name: str, *, slice_axis: int = 0, what: str = SINOGRAM
) -> Stack:
    """Open a dataset of two or three dimensions as a stack.

    Args:
        contents: of the file.
        name: of the dataset.
        slice_axis: the axis along which the slices lie, 0 or 1; along 1 they are read in bands.
        what: what was expected, for the message.

    Returns:
        The slices; a matrix is one.

    Raises:
        ValueError: no such dataset, no real numbers, of another number of dimensions, or larger
            than the file can be.
    """
    path, data = contents.path, contents.find(name)
    if data is None:
        raise ValueError(
            f"{path}: expected a dataset {name!r}, found {contents.named()}; say --dataset and "
            "its name."
        )
    where = Path(f"{path}: {name}")
    if not data.numbers:
        raise ValueError(
            f"{where}: expected real numbers, found dtype {shown(data.dtype)}; save the real part "
            "or the magnitude."
        )
    slices, rows, columns = stack_shape(data.shape or (), where, what)
    kind = f"HDF5 in chunks of {data.chunks}" if data.chunks else "HDF5"
    if data.chunks:
        check_claim(path, data.chunks, data.item_bytes, "a chunk")
    whole, n_dims = data.dtype[1] in "biu", len(data.shape or ())

    if slice_axis == 1 and n_dims == 3:
        check_stack_claim(path, (rows, slices, columns), data.item_bytes)
        by_rows = in_bands(data.columns, rows, slices * columns * data.item_bytes)
        shape = (rows, slices, columns)
        return Stack(path=path, shape=shape, load=by_rows, kind=kind, whole=whole)

    def load(index: int) -> NDArray[Any]:
        return data.values() if n_dims == 2 else data.slices(index, index + 1)[0]

    shape = (slices, rows, columns)
    check_stack_claim(path, shape, data.item_bytes)
    return Stack(path=path, shape=shape, load=load, kind=kind, whole=whole)


def _as_tuples(data: dict[str, Any]) -> dict[str, Any]:
    shape, chunks = data["shape"], data["chunks"]
    return {
        **data,
        "shape": None if shape is None else tuple(shape),
        "chunks": None if chunks is None else tuple(chunks),
    }
