"""Angles as a user gives them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from ct.data.file_start import NPY, read_start
from ct.data.npy_file import load_npy
from ct.data.shown import shown
from ct.possible_scan import check_views

_RANGE = re.compile(r"^([^:]+):([^:]+):(\d+)$")

_LARGEST_LIST = 2**22
"""Bytes of a list of angles: a hundred thousand with all their digits."""


def parse_angles(text: str, *, degrees: bool) -> tuple[float, ...]:
    """Read angles from START:STOP:N or from a file of numbers (.npy or text).

    Args:
        text: the range, STOP left out, or the file's name.
        degrees: whether the numbers are degrees.

    Returns:
        The angles in radians.

    Raises:
        ValueError: the range or the file cannot be read, holds no finite numbers, or too many.

    Example:
        >>> [round(a, 4) for a in parse_angles("0:180:4", degrees=True)]
        [0.0, 0.7854, 1.5708, 2.3562]
    """
    match = _RANGE.match(text)
    if match:
        try:
            start, stop = float(match[1]), float(match[2])
        except ValueError:
            raise ValueError(
                f"--angles: expected START:STOP:N, such as 0:180:60, got {text!r}."
            ) from None
        count = check_views(int(match[3]), "--angles: N")
        angles = start + (stop - start) * np.arange(count) / count
    else:
        angles = _angles_of_file(text)
    if not np.isfinite(angles).all() or angles.size == 0:
        raise ValueError(f"--angles: expected finite numbers, got {text!r}.")
    largest = np.abs(angles).max()
    if not degrees and largest > 4 * np.pi:
        raise ValueError(
            f"--angles: expected radians, got values up to {largest:g}; say --degrees."
        )
    if degrees and largest > 720:
        raise ValueError(
            f"--angles: expected degrees within ±720, got values up to {largest:g}; reduce angles "
            "of several turns modulo 360."
        )
    return tuple((np.deg2rad(angles) if degrees else angles).tolist())


def _angles_of_file(text: str) -> Float64[np.ndarray, " angles"]:
    path = Path(text)
    if not path.exists():
        raise ValueError(f"--angles: expected START:STOP:N or a file of angles, got {text!r}.")
    if read_start(path).startswith(NPY):
        values = load_npy(path)
        check_views(max(values.size, 1), f"--angles: {path}")  # each becomes a number of Python's
        return np.array(values, dtype=np.float64).ravel()
    if path.stat().st_size > _LARGEST_LIST:
        raise ValueError(
            f"--angles: {path}: expected a list of angles of at most {_LARGEST_LIST} bytes, found "
            f"{path.stat().st_size}; is it another file?"
        )
    try:
        words = path.read_text(encoding="utf-8").replace(",", " ").replace(";", " ").split()
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise ValueError(
            f"--angles: {path} holds other things than numbers ({shown(error)})."
        ) from None
