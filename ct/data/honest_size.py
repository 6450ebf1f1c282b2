"""What a file may claim: readers take memory for what it holds, not for what it says it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

TIMES = 10
LEEWAY = 256 * 2**20
"""A file of n bytes may make its reader take TIMES · n + LEEWAY bytes at once: its values, their
copy as float32, and as much again to look at them. The leeway is for masks and phantoms that are
packed very well: 4,800 × 4,800 pixels in a PNG of any size."""
_DENSEST = 1100
"""Times that the values of a whole stack may outgrow the file: deflate packs zeros 1032 to 1."""


def memory_for(path: Path) -> int:
    """Return how many bytes reading a file may take at once."""
    return TIMES * path.stat().st_size + LEEWAY


def check_claim(path: Path, shape: Sequence[int], item_bytes: int, what: str) -> None:
    """Refuse an array that is out of all proportion to the file that is said to hold it.

    Args:
        path: the file.
        shape: of what will be in memory at once.
        item_bytes: size of a value.
        what: such as "an image", for the message.

    Raises:
        ValueError: reading it takes more than `memory_for` the file, or its sizes are no sizes.
    """
    # as it is stored, as float32, and both again while it is read and looked at
    _check(path, shape, 2 * (item_bytes + 4), what, memory_for(path))


def check_stack_claim(path: Path, shape: Sequence[int], item_bytes: int) -> None:
    """Refuse a stack whose slices cannot be in the file, or one of which is out of proportion.

    Args:
        path: the file.
        shape: numbers of slices, rows and columns.
        item_bytes: size of a value.

    Raises:
        ValueError: no file of its size holds that many values, however well it is packed.
    """
    check_claim(path, shape[1:], item_bytes, "a slice")
    _check(path, shape, item_bytes, "a stack", _DENSEST * path.stat().st_size + LEEWAY)


def _check(path: Path, shape: Sequence[int], each: int, what: str, most: int) -> None:
    if min(shape, default=0) < 0 or math.prod(shape) * each > most:
        size = path.stat().st_size
        raise ValueError(
            f"{path}: expected {what} that a file of {size} bytes can hold, found one of "
            f"{'×'.join(f'{n:.6g}' for n in shape)} values; the file is damaged, or packed so "
            "tightly that it must be saved again without compression."
        )
