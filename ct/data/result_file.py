"""REC.h5: mean, standard deviation and samples, with everything that made them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from bayesnn.files import atomic_write
from ct.data.own_files import has_format
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_from_json, geometry_to_json
from ct.result import Reconstruction
from ct.result_metadata import Metadata, choose_slices, merge_metadata

_FORMAT = "bayesnn-ct reconstruction"
_VERSION = 1
_IMAGES = {"mean": 3, "std": 3, "samples": 4}  # datasets and their numbers of dimensions


def write_result(path: str | os.PathLike[str], result: Reconstruction) -> None:
    """Write a result: `mean` and `std` [slices, rows, columns], `samples` [slices, samples, …].

    Metadata are attributes of the file; those that are neither text nor number hold JSON, and the
    attribute `json` names them.

    Args:
        path: the file to write or replace; it appears only when it is whole.
        result: what to write.

    Raises:
        ValueError: `path` cannot be written.
    """
    with atomic_write(path) as temporary, _create(temporary) as file:
        _write_attributes(file, result.metadata, geometry_to_json(result.grid, result.scan))
        file.attrs["single_image"] = result.mean.ndim == 2
        for name, ndim in _IMAGES.items():
            values: Tensor | None = getattr(result, name)
            if values is not None:
                stack = values if values.ndim == ndim else values[None]
                file[name] = stack.detach().cpu().numpy()


def finish_result(path: Path, metadata: Metadata, grid: ImageGrid, scan: Scan, work: str) -> None:
    """Give a file that holds a stack's images all else that a result file needs.

    Args:
        path: a file that `create_result` made and whose values were written.
        metadata: the result's.
        grid: where the pixels are.
        scan: where the rays were.
        work: what tells it from a result of other work; no part of the metadata, because parts
            of one stack differ in it.
    """
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        _write_attributes(file, metadata, geometry_to_json(grid, scan))
        file.attrs["work"] = work
        file.attrs["single_image"] = False


class StoredReconstruction:
    """A result file that is open: its images stay on disk until one slice of them is read.

    Attributes:
        path: the file.
        grid: where the pixels are.
        scan: where the rays were.
        metadata: as of a `Reconstruction`.
        names: which images it holds: "mean", and "std" and "samples" where there are any.
        single_image: whether it was saved from one image and no stack.
        work: what `finish_result` was given; None in files that were written otherwise.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self.grid, self.scan = geometry_from_json(_text(file, "geometry"))
        self.metadata = _read_attributes(file)
        self.names = tuple(name for name in _IMAGES if name in file)
        self.single_image = bool(file.attrs.get("single_image", False))
        self.work = _text(file, "work") if "work" in file.attrs else None
        if "mean" not in file:
            raise ValueError("the dataset 'mean' is missing; the file is damaged.")
        self._file = file

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self._file["mean"])

    def read(self, index: int, *, samples: bool = True) -> Reconstruction:
        """Return one slice.

        Args:
            index: its place in the file, from 0.
            samples: whether to read its joint samples, where there are any.

        Returns:
            The slice as a single image, on the CPU.

        Raises:
            ValueError: the file has no such slice, or is damaged.
        """
        return self.read_stack([index], samples=samples).single(0)

    def read_stack(self, slices: Sequence[int], *, samples: bool = True) -> Reconstruction:
        """Return some slices.

        Args:
            slices: their places in the file, from 0.
            samples: whether to read their joint samples, where there are any.

        Returns:
            The slices as a stack, on the CPU.

        Raises:
            ValueError: no slices, or one that the file does not have, or the file is damaged.
        """
        if not slices or not 0 <= min(slices) <= max(slices) < len(self):
            raise ValueError(
                f"{self.path}: expected slices from 0 to {len(self) - 1}, got {list(slices)}."
            )
        names = [name for name in self.names if samples or name != "samples"]
        with _reading(self.path):
            images = {name: _read_slices(self._file[name], slices) for name in names}
        return Reconstruction(
            mean=images["mean"],
            std=images.get("std"),
            samples=images.get("samples"),
            metadata=choose_slices(self.metadata, slices),
            grid=self.grid,
            scan=self.scan,
        )


@contextmanager
def open_reconstruction(path: str | os.PathLike[str]) -> Iterator[StoredReconstruction]:
    """Open a result file whose images may be larger than the memory.

    Args:
        path: REC.h5.

    Yields:
        The result, to be read slice by slice while the block lasts.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or of a later version.

    Example:
        >>> with open_reconstruction("volume.h5") as volume:  # doctest: +SKIP
        ...     largest = [float(volume.read(index).mean.max()) for index in range(len(volume))]
    """
    path = Path(path)
    with _reading(path):
        _check_start(path)
        file = h5py.File(path, "r")
    with file:
        with _reading(path):
            _check_format(file)
            stored = StoredReconstruction(path, file)
        yield stored


def holds_result(path: Path) -> bool:
    """Return whether a file is one of our results, by its format; what it holds is not read."""
    return has_format(path, _FORMAT)


def read_result(
    path: str | os.PathLike[str], slices: Sequence[int] | None = None
) -> Reconstruction:
    """Read what `write_result` wrote, all of it or some slices.

    Args:
        path: the file.
        slices: the slices' places in the file, such as range(10, 20); None for all.

    Returns:
        The result, on the CPU; a stack where `slices` are given.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or of a later version, or has no
            such slice.
    """
    with open_reconstruction(path) as stored:
        if slices is not None:
            return stored.read_stack(slices)
        return stored.read(0) if stored.single_image else stored.read_stack(range(len(stored)))


def merge_results(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> None:
    """Join result files into one stack, holding one slice in memory at a time.

    Args:
        paths: files of single images or stacks, in order; where one lacks samples, none are kept.
        output: the file to write or replace.

    Raises:
        ValueError: a file cannot be read or written, or they differ in more than their slices.
    """
    if not paths:
        raise ValueError("merge: expected at least one result file, got none.")
    counts: list[int] = []
    metadata: list[Metadata] = []
    names = set(_IMAGES)
    geometries = set()
    for path in paths:
        with open_reconstruction(path) as stored:
            counts.append(len(stored))
            metadata.append(stored.metadata)
            names &= set(stored.names)
            geometries.add((stored.grid, stored.scan))
    if len(geometries) > 1:
        raise ValueError("merge: expected results of one geometry, got several.")
    merged = merge_metadata(metadata)
    with atomic_write(output) as temporary, _create(temporary) as whole:
        _write_attributes(whole, merged, geometry_to_json(*geometries.pop()))
        whole.attrs["single_image"] = False
        place = 0
        for path, count in zip(paths, counts, strict=True):
            with open_reconstruction(path) as stored:
                for index in range(count):
                    one = stored.read(index, samples="samples" in names)
                    for name in names:
                        values = getattr(one, name).numpy()
                        data = whole.require_dataset(
                            name, (sum(counts), *values.shape), values.dtype, exact=True
                        )
                        data[place] = values
                    place += 1


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    # every error of reading comes out as a ValueError that names the file
    try:
        yield
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a whole result file, but it is truncated or damaged ({error}); "
            "write or copy it again."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_start(path: Path) -> None:
    if not path.is_file():
        raise ValueError("no such file; give the path of a result file (REC.h5).")
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("the file is empty; write or copy it again.")
    if start != b"\x89HDF\r\n\x1a\n":
        raise ValueError(
            "expected a result file (HDF5), found another kind of file; "
            "`Reconstruction.save` and `bayesnn-ct reconstruct` write them."
        )


def _read_slices(data: h5py.Dataset, slices: Sequence[int]) -> Tensor:
    images = np.empty((len(slices), *data.shape[1:]), dtype=data.dtype)
    for place, index in enumerate(slices):
        images[place] = data[index]
    return torch.from_numpy(images)


def _create(path: Path) -> h5py.File:
    # from HDF5 1.10 on, attributes may be longer than 64 KiB: thousands of angles are
    return h5py.File(path, "w", libver=("v110", "v110"))


def _check_format(file: h5py.File) -> None:
    name, _, version = str(file.attrs.get("format", "")).rpartition(" ")
    if name != _FORMAT or not version.isdecimal():
        held = ", ".join(sorted(file)) or "nothing"
        raise ValueError(
            f"expected a result file of bayesnn-ct, found another HDF5 file (it holds {held})."
        )
    if int(version) > _VERSION:
        raise ValueError(
            f"expected a result file of version {_VERSION}, found version {version}; a later "
            "release of bayesnn wrote it, install that one."
        )


def _write_attributes(file: h5py.File, metadata: Metadata, geometry: str) -> None:
    file.attrs["format"] = f"{_FORMAT} {_VERSION}"
    file.attrs["geometry"] = geometry
    as_json = [
        key
        for key, value in metadata.items()
        if isinstance(value, bool) or not isinstance(value, str | int | float)
    ]
    for key, value in metadata.items():
        file.attrs[key] = json.dumps(value) if key in as_json else value
    file.attrs["json"] = json.dumps(as_json)
    file.attrs["metadata"] = json.dumps(list(metadata))


def _read_attributes(file: h5py.File) -> Metadata:
    as_json = json.loads(_text(file, "json"))
    return {
        key: json.loads(_text(file, key)) if key in as_json else _plain(file.attrs[key])
        for key in json.loads(_text(file, "metadata"))
    }


def _text(file: h5py.File, key: str) -> str:
    value = file.attrs[key]
    if not isinstance(value, str):
        raise ValueError(f"the attribute {key!r} is no text; the file is damaged.")
    return value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
