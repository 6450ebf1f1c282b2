"""REC.h5: mean, standard deviation and samples, with everything that made them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from bayesnn.files import atomic_write
from bayesnn.plain_json import parse_json
from ct.data.hdf5_file import Contents, Dataset, hdf5_contents
from ct.data.honest_size import check_claim, check_stack_claim
from ct.data.own_files import has_format
from ct.data.shown import shown
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_from_json, geometry_to_json
from ct.result import Reconstruction
from ct.result_metadata import Metadata, check_metadata, choose_slices, merge_metadata

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

    def __init__(self, contents: Contents) -> None:
        attributes = contents.attributes
        self.path = contents.path
        self.grid, self.scan = geometry_from_json(_text(attributes, "geometry"))
        self.single_image = attributes.get("single_image") is True
        self.work = _text(attributes, "work") if "work" in attributes else None
        self._images = _images(contents, self.grid)
        self.names = tuple(self._images)
        self.metadata = _read_attributes(attributes, len(self))

    def __len__(self) -> int:
        """Return the number of slices."""
        return self._images["mean"].shape[0]

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
            images = {name: _read_slices(self._images[name], slices) for name in names}
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
        contents = hdf5_contents(path)
        _check_format(contents)
        stored = StoredReconstruction(contents)
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
        if str(error).startswith(f"{path}: "):
            raise
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


def _images(contents: Contents, grid: ImageGrid) -> dict[str, _Image]:
    """Return the images that a file holds, all of as many slices on the grid."""
    found = {name: data for name in _IMAGES if (data := contents.find(name)) is not None}
    if "mean" not in found:
        raise ValueError("the dataset 'mean' is missing; the file is damaged.")
    images = {}
    for name, data in found.items():
        shape = data.shape or ()
        if len(shape) != _IMAGES[name] or shape[-2:] != grid.shape or not data.numbers:
            raise ValueError(
                f"{name}: expected numbers [{'slices, samples' if name == 'samples' else 'slices'},"
                f" {grid.shape[0]}, {grid.shape[1]}], found {shown(data.dtype)} of shape "
                f"{list(shape)}; the file is damaged."
            )
        check_stack_claim(contents.path, shape, data.item_bytes)
        images[name] = _Image(shape=shape, data=data)
    if len({one.shape[0] for one in images.values()}) > 1 or not images["mean"].shape[0]:
        raise ValueError(
            "expected as many slices of each image, found "
            f"{', '.join(f'{one.shape[0]} of {name}' for name, one in images.items())}; the file "
            "is damaged."
        )
    return images


@dataclass(frozen=True, kw_only=True)
class _Image:
    """One of a file's datasets, and its shape, slices first."""

    shape: tuple[int, ...]
    data: Dataset


def _read_slices(image: _Image, slices: Sequence[int]) -> Tensor:
    shape, data = (len(slices), *image.shape[1:]), image.data
    check_claim(data.path, shape, data.item_bytes, f"slices of {data.name!r}")
    images = np.empty(shape, dtype=np.dtype(data.dtype).newbyteorder("="))
    for place, index in enumerate(slices):
        images[place] = data.slices(index, index + 1)[0]
    return torch.from_numpy(images)


def _create(path: Path) -> h5py.File:
    # from HDF5 1.10 on, attributes may be longer than 64 KiB: thousands of angles are
    return h5py.File(path, "w", libver=("v110", "v110"))


def _check_format(contents: Contents) -> None:
    name, _, version = str(contents.attributes.get("format", "")).rpartition(" ")
    if name != _FORMAT or not version.isdecimal():
        held = sorted({one.split("/")[0] for one in (*contents.datasets, *contents.groups)})
        raise ValueError(
            "expected a result file of bayesnn-ct, found another HDF5 file (it holds "
            f"{shown(', '.join(held)) or 'nothing'})."
        )
    if version.lstrip("0") != str(_VERSION):
        raise ValueError(
            f"expected a result file of version {_VERSION}, found version {version:.10}; a later "
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


def _read_attributes(attributes: Mapping[str, Any], n_slices: int) -> Metadata:
    as_json, names = (_names(attributes, key) for key in ("json", "metadata"))
    metadata = {
        key: _from_json(attributes, key) if key in as_json else attributes[key] for key in names
    }
    check_metadata(metadata, n_slices)
    return metadata


def _names(attributes: Mapping[str, Any], key: str) -> list[str]:
    names = _from_json(attributes, key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the attribute {key!r} is no list of names; the file is damaged.")
    return names


def _from_json(attributes: Mapping[str, Any], key: str) -> Any:
    try:
        return parse_json(_text(attributes, key))
    except ValueError as error:
        raise ValueError(f"the attribute {key!r} is damaged ({error}).") from error


def _text(attributes: Mapping[str, Any], key: str) -> str:
    value = attributes[key]
    if not isinstance(value, str):
        raise ValueError(f"the attribute {key!r} is no text; the file is damaged.")
    return value
