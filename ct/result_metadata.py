"""What a result says of itself, for one slice and for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Metadata: TypeAlias = dict[str, Any]

PER_SLICE = ("slices", "noise_std", "diagnostics")
"""Entries that are lists with one value for each slice; all others hold for the whole result."""


def slice_metadata(metadata: Metadata, index: int) -> Metadata:
    """Return the metadata of one slice of a stack.

    Example:
        >>> slice_metadata({"seed": 0, "noise_std": [0.1, 0.2]}, 1)
        {'seed': 0, 'noise_std': [0.2]}
    """
    return {key: [value[index]] if key in PER_SLICE else value for key, value in metadata.items()}


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
    return whole
