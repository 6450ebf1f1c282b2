"""Central intervals between the quantiles of samples, as published figures take them."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def sample_quantile_intervals(
    samples: Float[Tensor, " samples *points"],
) -> Callable[[float], tuple[Tensor, Tensor]]:
    """Return central intervals whose ends are linear sample quantiles.

    They are too narrow by `ece_floor` even for exact posterior samples; intervals of ours come from
    Student's t or from calibration. These are for figures that shall stand beside published ones.

    Args:
        samples: joint samples, sorted here once.

    Returns:
        A function from a level to lower and upper ends.

    Example:
        >>> import torch
        >>> lower, upper = sample_quantile_intervals(torch.arange(5.0))(0.5)
        >>> float(lower), float(upper)
        (1.0, 3.0)
    """
    ordered = samples.sort(dim=0).values
    last = len(ordered) - 1

    def quantile(share: float) -> Tensor:
        place = share * last
        low = min(math.floor(place), max(last - 1, 0))
        return ordered[low].lerp(ordered[min(low + 1, last)], place - low)

    return lambda level: (quantile((1 - level) / 2), quantile((1 + level) / 2))
