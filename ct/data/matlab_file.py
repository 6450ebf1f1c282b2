"""MATLAB files: structs and matrices of version 5 (SciPy) and of version 7.3 (which is HDF5)."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from ct.data.hdf5_file import opened_hdf5

Fields: TypeAlias = Mapping[str, Any]
"""A struct's fields by name; structs within are Fields too, texts str, numbers arrays."""

_ERRORS = (
    EOFError, IndexError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What SciPy's reader raises where a file is truncated or damaged."""


def read_matlab(path: Path) -> Fields:
    """Read a MATLAB file's variables.

    Args:
        path: the file.

    Returns:
        Structs, texts and arrays by name.

    Raises:
        ValueError: truncated or damaged.
    """
    if h5py.is_hdf5(path):
        with opened_hdf5(path) as file:
            return {name: _from_hdf5(item) for name, item in file.items() if name[0] != "#"}
    import scipy.io

    try:
        with warnings.catch_warnings():
            # a duplicate variable, an unreadable one
            warnings.simplefilter("error", scipy.io.matlab.MatReadWarning)
            content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except (*_ERRORS, scipy.io.matlab.MatReadWarning) as error:
        raise ValueError(
            f"{path}: expected a whole MATLAB file, but it is truncated or damaged "
            f"({error or type(error).__name__}); write or copy it again."
        ) from error
    return {name: _from_scipy(item) for name, item in content.items() if name[:2] != "__"}


def _from_scipy(item: Any) -> Any:
    names = getattr(item, "_fieldnames", None)
    if names is not None:
        return {name: _from_scipy(getattr(item, name)) for name in names}
    return item


def _from_hdf5(item: Any) -> Any:
    if isinstance(item, h5py.Group):
        return {name: _from_hdf5(inner) for name, inner in item.items()}
    # MATLAB's columns come first in memory
    values = np.asarray(item).T
    if item.attrs.get("MATLAB_class", b"") in {b"char", "char"}:
        return "".join(chr(code) for code in values.ravel())
    return np.squeeze(values)
