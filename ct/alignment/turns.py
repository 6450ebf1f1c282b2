"""Which part of a turn a scan's views cover."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

_SAME = 1e-6
GAP = 1.75
"""Two neighbouring views further apart than so many typical steps leave a part uncovered."""


def step_between_views(angles: Sequence[float], period: float) -> float:
    """Return the typical angle between neighbouring views, all taken modulo a period.

    Args:
        angles: one a view, in radians.
        period: π, where a view and its opposite are one, or 2π.

    Returns:
        The median of the gaps that are not zero; the period where there is one direction only.

    Example:
        >>> import math
        >>> round(step_between_views([0.0, 0.1, 0.2, 0.3 + math.pi], math.pi), 6)
        0.1
    """
    gaps = _gaps(angles, period)
    return float(gaps[gaps > _SAME].median())


def covers(angles: Sequence[float], period: float) -> bool:
    """Say whether views follow one another without a gap around a whole period.

    Args:
        angles: one a view, in radians.
        period: π for half a turn, in which every line is seen once, or 2π for a full one.

    Returns:
        Whether no gap is wider than 1.75 typical steps, and no less than three views stand there.

    Example:
        >>> import math
        >>> half = [k * math.pi / 10 for k in range(10)]
        >>> covers(half, math.pi), covers(half, 2 * math.pi), covers(half[:8], math.pi)
        (True, False, False)
    """
    gaps = _gaps(angles, period)
    present = gaps[gaps > _SAME]
    return len(present) >= 3 and float(present.max()) <= GAP * float(present.median())


def view_weights(angles: Sequence[float], period: float) -> Float64[Tensor, " views"]:
    """Return the angle that each view stands for: half the gaps to its neighbours.

    Args:
        angles: one a view, in radians.
        period: π or 2π.

    Returns:
        Weights that add up to the period; views that coincide share theirs.

    Example:
        >>> import math
        >>> view_weights([0.0, math.pi / 2], math.pi)
        tensor([1.5708, 1.5708], dtype=torch.float64)
    """
    turned, order = torch.tensor(angles, dtype=torch.float64).remainder(period).sort()
    after = torch.diff(turned, append=turned[:1] + period)
    weights = torch.empty_like(turned)
    weights[order] = (after + after.roll(1)) / 2
    return weights


def _gaps(angles: Sequence[float], period: float) -> Float64[Tensor, " views"]:
    turned = torch.tensor(angles, dtype=torch.float64).remainder(period).sort().values
    return torch.diff(turned, append=turned[:1] + period)
