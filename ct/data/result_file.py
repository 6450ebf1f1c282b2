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
from ct.geometry_json import geometry_from_json, geometry_to_json
from ct.result import Reconstruction
from ct.result_metadata import Metadata, merge_metadata

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


def read_result(path: str | os.PathLike[str]) -> Reconstruction:
    """Read what `write_result` wrote.

    Args:
        path: the file.

    Returns:
        The result, on the CPU.

    Raises:
        ValueError: the file is missing, empty, truncated, foreign or of a later version.
    """
    with _opened(Path(path)) as file:
        grid, scan = geometry_from_json(_text(file, "geometry"))
        single = bool(file.attrs.get("single_image", False))

        def images(name: str) -> Tensor | None:
            if name not in file:
                return None
            stack = torch.from_numpy(np.asarray(file[name][()]))
            return stack[0] if single else stack

        mean = images("mean")
        if mean is None:
            raise ValueError("the dataset 'mean' is missing; the file is damaged.")
        return Reconstruction(
            mean=mean,
            std=images("std"),
            samples=images("samples"),
            metadata=_read_attributes(file),
            grid=grid,
            scan=scan,
        )


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
        with _opened(Path(path)) as file:
            counts.append(len(file["mean"]))
            metadata.append(_read_attributes(file))
            names &= set(file)
            geometries.add(_text(file, "geometry"))
    if len(geometries) > 1:
        raise ValueError("merge: expected results of one geometry, got several.")
    merged = merge_metadata(metadata)
    with atomic_write(output) as temporary, _create(temporary) as whole:
        _write_attributes(whole, merged, geometries.pop())
        whole.attrs["single_image"] = False
        start = 0
        for path, count in zip(paths, counts, strict=True):
            with _opened(Path(path)) as file:
                for name in names:
                    data = whole.require_dataset(
                        name, (sum(counts), *file[name].shape[1:]), file[name].dtype, exact=True
                    )
                    for index in range(count):
                        data[start + index] = file[name][index]
            start += count


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    # every error, of reading too, comes out as a ValueError that names the file
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a result file (REC.h5).")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; write or copy it again.")
    with path.open("rb") as start:
        if start.read(8) != b"\x89HDF\r\n\x1a\n":
            raise ValueError(
                f"{path}: expected a result file (HDF5), found another kind of file; "
                "`Reconstruction.save` and `bayesnn-ct reconstruct` write them."
            )
    try:
        with h5py.File(path, "r") as file:
            _check_format(file)
            yield file
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a whole result file, but it is truncated or damaged ({error}); "
            "write or copy it again."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


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
