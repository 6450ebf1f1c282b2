"""Slices that stay on disk until they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from ct.data.shown import shown

Load: TypeAlias = Callable[[int], NDArray[Any]]
"""From the number of a slice to its values, of the file's own type."""

_BAND_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Arrays of one shape, one a slice.

    Attributes:
        path: the file or folder, for messages.
        shape: numbers of slices, rows and columns.
        load: reads one slice.
        kind: the format in words.
        whole: whether the file's own type is whole numbers.
    """

    path: Path
    shape: tuple[int, int, int]
    load: Load
    kind: str
    whole: bool = False

    def read(self, index: int) -> Float32[np.ndarray, "rows columns"]:
        """Return one slice as float32.

        Raises:
            ValueError: the values are damaged on disk, or of another shape than the file said.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite
                values = np.array(self.load(index), dtype=np.float32)
        except (OSError, EOFError, RuntimeError) as error:
            raise ValueError(
                f"{self.path}: slice {index} cannot be read, the file is damaged ({shown(error)}); "
                "write or copy it again."
            ) from error
        if values.shape != self.shape[1:]:
            raise ValueError(
                f"{self.path}: slice {index}: expected shape {list(self.shape[1:])}, found "
                f"{list(values.shape)}; the file is damaged or of mixed sizes."
            )
        return values


def stack_shape(shape: tuple[int, ...], path: Path, what: str) -> tuple[int, int, int]:
    """Return numbers of slices, rows and columns; a matrix is one slice.

    Args:
        shape: of the array.
        path: the file, for the message.
        what: what was expected, such as "a sinogram [views, detectors] or …".

    Raises:
        ValueError: not two or three dimensions, or one of them empty.
    """
    if len(shape) not in {2, 3} or 0 in shape:
        raise ValueError(f"{path}: expected {what}, found shape {list(shape)}; reshape it.")
    slices, rows, columns = shape if len(shape) == 3 else (1, *shape)
    return slices, rows, columns


def check_real(dtype: np.dtype[Any], path: Path) -> None:
    """Refuse what is no real number.

    Raises:
        ValueError: complex numbers, text or objects.
    """
    if dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: expected real numbers, found dtype {shown(dtype)}; save the real part or the "
            "magnitude."
        )


def in_bands(load: Callable[[int, int], NDArray[Any]], n_slices: int, slice_bytes: int) -> Load:
    """Read slices whose values lie scattered on disk many at a time, and keep the last band.

    Args:
        load: from the numbers of the first slice and of the one after the last to values
            [rows, slices, columns].
        n_slices: how many slices there are.
        slice_bytes: size of one slice; a band takes 64 MiB at most, unless a slice does.

    Returns:
        A reader of single slices.
    """
    width = max(1, min(n_slices, _BAND_BYTES // max(slice_bytes, 1)))

    @lru_cache(maxsize=1)
    def band(first: int) -> NDArray[Any]:
        return load(first, min(first + width, n_slices))

    return lambda index: band(index // width * width)[:, index % width]
