"""How a learning rate moves while a network is trained, and what share of it is left."""

from __future__ import annotations

import math

_WARM_UP = 0.3  # share of the steps in which the learning rate rises


def one_cycle(progress: float) -> float:
    """Return the learning rate's factor: up from 1/25, then down to 0, along cosines.

    Args:
        progress: share of the steps that are done.

    Returns:
        A factor of at most 1.

    Example:
        >>> round(one_cycle(0.0), 6), one_cycle(0.3), one_cycle(1.0)
        (0.04, 1.0, 0.0)
    """
    if progress < _WARM_UP:
        return 1 - 0.96 * cosine_fall(progress / _WARM_UP)
    return cosine_fall((progress - _WARM_UP) / (1 - _WARM_UP))


def cosine_fall(progress: float) -> float:
    """Return the learning rate's factor: down from 1 to 0 along a cosine.

    Args:
        progress: share of the steps that are done.

    Returns:
        A factor of at most 1.

    Example:
        >>> cosine_fall(0.0), round(cosine_fall(0.5), 6), cosine_fall(1.0)
        (1.0, 0.5, 0.0)
    """
    return (1 + math.cos(math.pi * progress)) / 2
