"""Dropout masks that are functions of a key and a place: nothing is stored, order plays no part."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor

KEY_WORDS = 2
"""32-bit words of a key; bit patterns are kept as int32, which every device has."""

_WORD = 0xFFFFFFFF
FACTORS = (0x7FEB352D, 0x846CA68B)
SHIFTS = (16, 15, 16)


def draw_keys(n_keys: int, *, generator: torch.Generator) -> Int32[Tensor, "n_keys words"]:
    """Draw independent keys.

    Args:
        n_keys: how many, one for each layer that loses units.
        generator: source, on the CPU.

    Returns:
        The keys, on the CPU.

    Example:
        >>> draw_keys(6, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([6, 2])
    """
    keys = torch.randint(-(2**31), 2**31, (n_keys, KEY_WORDS), generator=generator)
    return keys.to(torch.int32)


def least_kept(rate: float) -> int:
    """Return the smallest 32-bit word that keeps a unit: a share of `rate` lies below it.

    Example:
        >>> least_kept(0.5) == 2**31
        True
    """
    return round(rate * 2**32)


def keep_mask(
    key: Int32[Tensor, " words"], counters: Int[Tensor, "*shape"], rate: float
) -> Bool[Tensor, "*shape"]:
    """Return which units stay, each by a hash of the key and its own counter.

    The hash alternates xor-shifts with products modulo 2³², with one word of the key before and
    one between them, so masks of different keys are no shifts of one another.

    Args:
        key: two words.
        counters: the number of each unit, modulo 2³².
        rate: the share that is lost, at least 0 and below 1.

    Returns:
        True where a unit stays.

    Source:
        C. Wellons, hash-prospector (the constants), 2018.

    Example:
        >>> key = draw_keys(1, generator=torch.Generator().manual_seed(0))[0]
        >>> round(float(keep_mask(key, torch.arange(100_000), 0.2).float().mean()), 2)
        0.8
    """
    first, second = key.to(torch.int64).unbind()
    # 64 bits hold the low word of a product whatever the high one is
    word = (counters.to(torch.int64) ^ first) & _WORD
    word = ((word ^ (word >> SHIFTS[0])) * FACTORS[0] + second) & _WORD
    word = ((word ^ (word >> SHIFTS[1])) * FACTORS[1]) & _WORD
    return (word ^ (word >> SHIFTS[2])) >= least_kept(rate)
