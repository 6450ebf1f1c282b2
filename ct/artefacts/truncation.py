"""Objects that reach beyond the detector: how to notice, and how to continue the views."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_EDGE = 0.01  # of the detector's bins make its edge
_HIGH = 0.03  # of the largest values: what no empty ray shows


def truncated_share(
    sinogram: Float[Tensor, "*slices views detectors"],
) -> tuple[float, float]:
    """Return in which share of the views the object reaches the first and the last bins.

    A view is cut off on a side where the mean of its outer hundredth of bins (three at least)
    exceeds 3 % of the sinogram's largest values (its 99th percentile).

    Args:
        sinogram: line integrals.

    Returns:
        The shares on the first bin's and on the last bin's side, from 0 to 1.

    Example:
        >>> view = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0])
        >>> truncated_share(view.expand(4, 8))
        (0.0, 1.0)
    """
    n = sinogram.shape[-1]
    edge = min(n, max(3, math.ceil(_EDGE * n)))
    values = sinogram.detach().reshape(-1, n).abs()
    # of many values a tenth of a million stand for all
    some = values.flatten()[:: max(1, values.numel() // 100_000)].double()
    limit = _HIGH * float(torch.quantile(some, 0.99))
    if limit <= 0:
        return 0.0, 0.0
    first = (values[:, :edge].mean(-1) > limit).double().mean()
    last = (values[:, n - edge :].mean(-1) > limit).double().mean()
    return float(first), float(last)
