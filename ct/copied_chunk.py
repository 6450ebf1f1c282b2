"""A file of finished slices, read as one that anybody may have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ct.result_metadata import Metadata
from ensembles.state_folder import StateFolder

FORMAT = "bayesnn-ct-slices"
VERSION = 1  # raise it whenever older code would misread the files
_COUNTS = ("slice", "raised", "missing")
_BY_LEVEL = ("half_widths", "held_out_coverage")
_SOURCES = ("given", "measured", "estimated")


@dataclass(frozen=True, kw_only=True)
class CopiedChunk:
    """A chunk of slices that was finished.

    Attributes:
        first: place of its first slice in the result.
        images: values of each dataset.
        records: what is on record of each slice.
    """

    first: int
    images: Mapping[str, Float32[np.ndarray, " slices *image"]]
    records: list[Metadata]


def chunk_name(chunk: int) -> str:
    """Return the name of a chunk's file."""
    return f"slices-{chunk:06d}.safetensors"


def read_chunk(
    folder: StateFolder, chunk: int, work: Metadata, shapes: Mapping[str, tuple[int, ...]]
) -> CopiedChunk:
    """Read a chunk.

    Args:
        folder: where the file is.
        chunk: its number.
        work: all that the numbers must depend on, as JSON.
        shapes: of each dataset of the result.

    Returns:
        The chunk, which fits the result.

    Raises:
        DamagedFileError: the file is truncated, or its digest says that it is damaged.
        MissingFileError: there is none.
        ValueError: it is of other work, of another version, or cannot be a chunk of this result.
    """
    name = chunk_name(chunk)
    tensors, content = folder.read(name, file_format=FORMAT, version=VERSION)
    its = content.get("work")
    its = its if isinstance(its, dict) else {}
    different = sorted(key for key in {*its, *work} if its.get(key) != work.get(key))
    if different:
        raise ValueError(
            f"{folder}/{name}: cannot resume, the slices that are kept there differ in "
            f"{', '.join(different):.200}; repeat their options, or name another --checkpoint."
        )
    first, records = content.get("first"), content.get("records")
    if not (_can_be_records(records) and _fit(tensors, first, len(records), shapes)):
        raise ValueError(
            f"{folder}/{name}: expected slices of this result, found something else; remove the "
            "file to go on."
        )
    images = {key: value.numpy() for key, value in tensors.items()}
    return CopiedChunk(first=first, images=images, records=records)


def _fit(
    tensors: Mapping[str, Tensor],
    first: Any,
    n_slices: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> bool:
    """Return whether values of some slices have their place in the result."""
    return (
        type(first) is int
        and tensors.keys() == shapes.keys()
        and all(
            value.dtype == torch.float32
            and value.shape == (n_slices, *shapes[name][1:])
            and 0 <= first <= shapes[name][0] - n_slices
            for name, value in tensors.items()
        )
    )


def _can_be_records(records: Any) -> bool:
    """Return whether these are of the kinds that a result's metadata and summary are made of."""
    return isinstance(records, list) and bool(records) and all(map(_can_be_record, records))


def _can_be_record(record: Any) -> bool:
    if not isinstance(record, dict) or record.get("noise_std_source") not in _SOURCES:
        return False
    found = record.get("diagnostics")
    return (
        all(type(record.get(name)) is int for name in _COUNTS)
        and _is_number(record.get("noise_std"))
        and isinstance(record.get("calibration"), str)
        and all(_are_levels(record.get(name)) for name in _BY_LEVEL)
        and isinstance(found, dict)
        and _is_number(found.get("std_scale", 1.0))
        and isinstance(found.get("findings", []), list)
        and all(
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and isinstance(one.get("text"), str)
            for one in found.get("findings", [])
        )
    )


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) < 1e300


def _are_levels(values: Any) -> bool:
    return values is None or (isinstance(values, dict) and all(map(_is_number, values.values())))
