"""MATLAB files: structs and matrices of version 5 and of version 7.3 (which is HDF5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ct.data.file_start import is_hdf5
from ct.data.hdf5_file import Contents, Dataset, hdf5_contents
from ct.data.honest_size import check_claim
from ct.data.matlab5 import read_matlab5

Fields: TypeAlias = Mapping[str, Any]
"""A struct's fields by name; structs within are Fields too, texts str, numbers arrays."""


def read_matlab(path: Path) -> Fields:
    """Read a MATLAB file's variables.

    Args:
        path: the file.

    Returns:
        Structs, texts and arrays by name.

    Raises:
        ValueError: truncated or damaged.
    """
    return _from_hdf5(hdf5_contents(path)) if is_hdf5(path) else read_matlab5(path)


def _from_hdf5(contents: Contents) -> Fields:
    numbers = [one for one in contents.datasets.values() if one.numbers and one.shape]
    total = sum(int(np.prod(one.shape or (), dtype=object)) * one.item_bytes for one in numbers)
    check_claim(contents.path, (total // 8,), 8, "variables")
    fields: dict[str, Any] = {}
    for name, data in sorted(contents.datasets.items()):
        *groups, own = name.split("/")
        if name[0] == "#":  # what cells refer to
            continue
        holder = fields
        for group in groups:
            holder = holder.setdefault(group, {})
        holder[own] = _value(data)
    return fields


def _value(data: Dataset) -> Any:
    if not data.numbers or not data.shape:
        return data.dtype  # cells and other objects, of which the type is told
    # MATLAB's columns come first in memory
    values = data.values().T
    if data.word("MATLAB_class") == "char":
        return "".join(chr(int(code) % 2**16) for code in values.ravel(order="F"))
    return np.squeeze(values)
