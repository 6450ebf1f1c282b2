"""What a result says of itself, for one slice and for many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ct.diagnosis.summary import summary_of

if TYPE_CHECKING:
    from ct.problem import Method
    from ct.slices import SolvedSlice

Metadata: TypeAlias = dict[str, Any]

_OF_UNCERTAINTY = ("half_widths", "held_out_coverage")
PER_SLICE = ("slices", "noise_std", "diagnostics", *_OF_UNCERTAINTY)
"""Entries that are lists with one value for each slice; all others hold for the whole result."""


def run_metadata(
    method: Method,
    *,
    seed: int,
    units: str,
    noise_std_source: str,
    versions: dict[str, str],
    slices: Sequence[Metadata],
) -> Metadata:
    """Return what a result says of itself.

    Args:
        method: what made it.
        seed: seed of everything random.
        units: the image's units.
        noise_std_source: "given", "measured" or "estimated".
        versions: of all that the numbers depend on.
        slices: each slice's `slice_record`.
    """
    uncertain = () if method.n_samples is None else _OF_UNCERTAINTY
    return {
        "method": method.name,
        "settings": method.settings(),
        "units": units,
        "seed": seed,
        "slices": [one["slice"] for one in slices],
        "n_samples": method.n_samples,
        "noise_std": [one["noise_std"] for one in slices],
        "noise_std_source": noise_std_source,
        "calibration": slices[0]["calibration"],
        **{key: [one.get(key) for one in slices] for key in uncertain},
        "versions": versions,
        "diagnostics": [one["diagnostics"] for one in slices],
    }


def slice_record(index: int, solved: SolvedSlice) -> Metadata:
    """Return what is to be said of one slice, as JSON can hold it.

    Args:
        index: the slice's number.
        solved: its estimate and noise.
    """
    diagnostics: Metadata = dict(solved.estimate.diagnostics)
    if solved.mismatch is not None:
        diagnostics |= summary_of(solved.mismatch)
    return {
        "slice": index,
        "noise_std": solved.noise_mean,
        "calibration": solved.estimate.calibration,
        "diagnostics": diagnostics,
        "half_widths": _by_level(solved.estimate.half_widths),
        "held_out_coverage": _by_level(solved.estimate.held_out_coverage),
    }


def _by_level(numbers: Mapping[float, float] | None) -> dict[str, float] | None:
    # JSON's keys are text
    return None if numbers is None else {f"{level:g}": value for level, value in numbers.items()}


def check_metadata(metadata: Metadata, n_slices: int) -> None:
    """Refuse what a file says of its slices where it cannot be.

    Args:
        metadata: from the file.
        n_slices: how many slices it holds.

    Raises:
        ValueError: an entry of each slice is no list, or of another length; or the method, the
            units or the number of samples are of another kind than they can be.
    """
    for key in PER_SLICE:
        values = metadata.get(key)
        if key in metadata and (not isinstance(values, list) or len(values) != n_slices):
            raise ValueError(
                f"expected one {key!r} for each of {n_slices} slices; the file is damaged."
            )
    for key, kind in (("method", str), ("units", str), ("n_samples", int | None)):
        if key in metadata and not isinstance(metadata[key], kind):
            raise ValueError(f"{key!r} is of another kind than it can be; the file is damaged.")
    for widths in metadata.get("half_widths") or []:
        if widths is not None and not _are_levels(widths):
            raise ValueError("expected half widths by their levels; the file is damaged.")


def _are_levels(widths: Any) -> bool:
    try:
        return all(math.isfinite(float(level) + value) for level, value in widths.items())
    except (AttributeError, OverflowError, TypeError, ValueError):
        return False


def slice_metadata(metadata: Metadata, index: int) -> Metadata:
    """Return the metadata of one slice of a stack.

    Example:
        >>> slice_metadata({"seed": 0, "noise_std": [0.1, 0.2]}, 1)
        {'seed': 0, 'noise_std': [0.2]}
    """
    return choose_slices(metadata, [index])


def choose_slices(metadata: Metadata, slices: Sequence[int]) -> Metadata:
    """Return the metadata of some slices of a stack, by their places in it.

    Example:
        >>> choose_slices({"seed": 0, "noise_std": [0.1, 0.2, 0.3]}, [2, 0])
        {'seed': 0, 'noise_std': [0.3, 0.1]}
    """
    return {
        key: [value[index] for index in slices] if key in PER_SLICE else value
        for key, value in metadata.items()
    }


def merge_metadata(parts: Sequence[Metadata]) -> Metadata:
    """Return the metadata of a stack from those of its parts.

    Args:
        parts: one for each part, in the stack's order.

    Returns:
        The lists of single slices joined, all else as it is.

    Raises:
        ValueError: the parts differ in something that must hold for the whole stack.

    Example:
        >>> merge_metadata([{"seed": 0, "noise_std": [0.1]}, {"seed": 0, "noise_std": [0.2]}])
        {'seed': 0, 'noise_std': [0.1, 0.2]}
    """
    whole = dict(parts[0])
    for part in parts[1:]:
        different = [
            key
            for key in {**whole, **part}
            if key not in PER_SLICE and whole.get(key) != part.get(key)
        ]
        if different:
            raise ValueError(
                "stack: expected results of the same work, got ones that differ in "
                f"{', '.join(different)}; reconstruct them alike."
            )
    for key in PER_SLICE:
        if all(key in part for part in parts):
            whole[key] = [value for part in parts for value in part[key]]
        else:  # a part of an earlier release says nothing of it
            whole.pop(key, None)
    return whole
