"""The median of numbers that come a block at a time and are never all held."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_FEW = 2**17
"""Numbers that may be held at once: 1 MiB."""
_DIGITS = (18, 15, 15, 15)
"""Bits that are looked at in each pass: all but the sign, the exponent's first."""


def streamed_median(
    blocks: Callable[[], Iterable[Float64[Tensor, " some"]]], *, at_most: int
) -> tuple[float, int]:
    """Return the lower median of numbers that are not negative, exactly.

    Such numbers are ordered as their bits are. Each pass counts the numbers of the median's first
    bits by the bits that follow, until there are few enough of them to be sorted: two passes,
    unless many are nearly equal.

    Args:
        blocks: gives the numbers, the same ones each time it is called; none of them NaN.
        at_most: how many there may be; few are held and sorted at once.

    Returns:
        The median, NaN where there are no numbers, and how many there are.

    Example:
        >>> first, second = torch.tensor([3.0, 1.0]).double(), torch.tensor([2.0]).double()
        >>> streamed_median(lambda: [first, second], at_most=3)
        (2.0, 3)
    """
    if at_most <= _FEW:
        numbers = torch.cat(list(blocks()))
        return float(numbers.median()), len(numbers)
    rank, count, known, first = 0, -1, 63, 0
    for n_bits in _DIGITS:
        known -= n_bits
        counts = torch.zeros(1 << n_bits, dtype=torch.int64)
        for bits in _with_first_bits(blocks, first, known + n_bits):
            digit = (bits >> known) & ((1 << n_bits) - 1)
            counts += torch.bincount(digit, minlength=1 << n_bits).cpu()
        if count < 0:
            count = int(counts.sum())
            rank = (count - 1) // 2
            if count == 0:
                return float("nan"), 0
        before = counts.cumsum(0)
        digit_of_median = int((before <= rank).sum())
        rank -= int(before[digit_of_median] - counts[digit_of_median])
        first = (first << n_bits) | digit_of_median
        if known and int(counts[digit_of_median]) <= _FEW:
            near = torch.cat(list(_with_first_bits(blocks, first, known)))
            return _number(int(near.sort().values[rank])), count
    return _number(first), count


def _with_first_bits(
    blocks: Callable[[], Iterable[Float64[Tensor, " some"]]], first: int, known: int
) -> Iterable[Int64[Tensor, " fewer"]]:
    """Yield the bits of those numbers whose bits from number `known` on are `first`."""
    for block in blocks():
        bits = block.contiguous().view(torch.int64)
        yield bits if known == sum(_DIGITS) else bits[(bits >> known) == first]


def _number(bits: int) -> float:
    return float(torch.tensor(bits).view(torch.float64))
