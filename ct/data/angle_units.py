"""Angles of files, whose units are so often wrong that they are checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ct.data.hdf5_file import Dataset
from ct.data.shown import shown
from ct.possible_scan import check_views

_LARGEST_RADIANS = 4 * np.pi
_ENOUGH_VIEWS = 10
_NEAR = 0.04
"""A turn of N views ends 1/N short: so many views at least are needed to recognise one."""


def angles_in_radians(
    values: NDArray[Any] | Sequence[float], units: str, where: str
) -> tuple[float, ...]:
    """Return a file's angles in radians, or refuse those that contradict their units.

    Args:
        values: the angles.
        units: what the file says of them: "degrees", "radians" or forms of these; "" for nothing.
        where: file and dataset, for messages.

    Returns:
        The angles in radians.

    Raises:
        ValueError: not a list of finite numbers, or too long; unknown units; "radians"
            beyond two turns; "degrees" over an arc of about π or 2π; no units, and a range that
            leaves them open.

    Example:
        >>> angles_in_radians([0.0, 90.0], "degree", "scan.h5: theta")
        (0.0, 1.5707963267948966)
    """
    angles = _checked(values, where)
    largest, arc = float(np.abs(angles).max()), float(np.ptp(angles))
    word = units.strip().lower()
    remedy = "correct the file, or give --angles (with --degrees where they are)"
    if word.startswith("rad"):
        if largest > _LARGEST_RADIANS:
            raise ValueError(
                f"{where}: the units say radians but the angles reach {largest:g}: they look like "
                f"degrees; {remedy}."
            )
        return tuple(angles.tolist())
    if word.startswith("deg") or word == "°":
        if _is_a_turn_in_radians(arc, len(angles)):
            raise ValueError(
                f"{where}: the units say degrees but the angles cover {arc:.4g}, which is "
                f"{arc / np.pi:.2f} π: they look like radians; {remedy}."
            )
        return tuple(np.deg2rad(angles).tolist())
    if word:
        raise ValueError(
            f"{where}: expected units degrees or radians, found {shown(units, 40)!r}; {remedy}."
        )
    if largest > _LARGEST_RADIANS:
        return tuple(np.deg2rad(angles).tolist())
    if _is_a_turn_in_radians(arc, len(angles)):
        return tuple(angles.tolist())
    raise ValueError(
        f"{where}: the angles have no units, and a range of {arc:g} could be degrees or radians; "
        f"{remedy}."
    )


def angles_of_dataset(data: Dataset, usual: str, where: str) -> tuple[float, ...]:
    """Return the angles of an HDF5 dataset in radians.

    Args:
        data: the dataset.
        usual: the units of such angles where their attribute `units` says nothing.
        where: file and dataset, for messages.

    Raises:
        ValueError: no numbers, or what `angles_in_radians` refuses.
    """
    if not data.numbers:
        raise ValueError(f"{where}: expected numbers, found dtype {shown(data.dtype)}.")
    check_views(max(math.prod(data.shape or ()), 1), where)  # before they are read
    return angles_in_radians(data.values(), data.word("units") or usual, where)


def _checked(values: NDArray[Any] | Sequence[float], where: str) -> Float[np.ndarray, " angles"]:
    n_angles = values.size if isinstance(values, np.ndarray) else len(values)
    check_views(max(n_angles, 1), where)  # each becomes a number of Python's
    try:
        with np.errstate(invalid="ignore"):
            angles = np.asarray(values, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected numbers ({error}).") from error
    if angles.size == 0 or not np.isfinite(angles).all():
        raise ValueError(
            f"{where}: expected finite angles, found {int((~np.isfinite(angles)).sum())} NaN or "
            f"infinite of {angles.size}; give --angles."
        )
    return angles


def _is_a_turn_in_radians(arc: float, n_views: int) -> bool:
    return n_views >= _ENOUGH_VIEWS and any(
        turn * (1 - 1 / n_views - _NEAR) < arc < turn * (1 + _NEAR) for turn in (np.pi, 2 * np.pi)
    )
