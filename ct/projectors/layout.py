"""How kernels see a batch: slices side by side in lanes, lanes in groups, lines with zeros."""

from __future__ import annotations

from dataclasses import dataclass

MORE_LINES = 16
"""Lines of zeros behind the last one of an image: as many as one ray is ever split into."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How many slices stand side by side.

    Attributes:
        lanes: slices whose values of one pixel (or bin) are one access to memory.
        groups: groups of lanes that one thread handles.
        n_groups: groups of lanes in all, a multiple of `groups`; slices that there are not are 0.
    """

    lanes: int
    groups: int
    n_groups: int


def packing(n_slices: int, n_bytes: int) -> Packing:
    """Return the layout of a batch.

    Args:
        n_slices: slices of the batch, above 0.
        n_bytes: bytes of one number.

    Returns:
        Lanes of 16 bytes, the widest access there is, or fewer for fewer slices.

    Example:
        >>> packing(8, 4)
        Packing(lanes=4, groups=2, n_groups=2)
    """
    lanes = min(16 // n_bytes, 1 << (n_slices - 1).bit_length())
    n_groups = -(-n_slices // lanes)
    groups = min(2, n_groups)
    return Packing(lanes=lanes, groups=groups, n_groups=-(-n_groups // groups) * groups)
