"""Objects that reach beyond the detector: how to notice, and how to continue the views."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_EDGE = 0.01  # of the detector's bins make its edge
_NOISE = 5.0
_MAD_OF_UNIT_NORMAL = 0.6744898
_HIGH = 0.03  # of the largest values: what no empty ray shows


def truncated_share(
    sinogram: Float[Tensor, "*slices views detectors"],
) -> tuple[float, float]:
    """Return in which share of the views the object reaches the first and the last bins.

    A view is cut off on a side where the mean of its outer hundredth of bins (three at least)
    exceeds 3 % of the sinogram's largest values (its 99th percentile) and five times its noise.

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
    values = sinogram.detach().reshape(-1, n)
    limit = _HIGH * large_value(sinogram)
    first, last = (
        float((part.mean(-1).abs() > max(limit, _NOISE * _noise_of_mean(part))).double().mean())
        for part in (values[:, :edge], values[:, n - edge :])
    )
    return first, last


def large_value(sinogram: Float[Tensor, "*slices views detectors"]) -> float:
    """Return the 99th percentile of the absolute values, from some twenty thousand of them.

    Args:
        sinogram: line integrals.

    Returns:
        The value, which single wild ones do not change.

    Example:
        >>> round(large_value(torch.arange(1000.0)[None]), 3)
        989.01
    """
    values = sinogram.detach().flatten()
    some = values[:: max(1, len(values) // 20_000)].double().abs()
    return float(torch.quantile(some, 0.99))


def _noise_of_mean(part: Float[Tensor, "views edge"]) -> float:
    """Return the noise of a view's mean over some bins, from how neighbouring bins differ."""
    differences = part.diff(dim=1).abs().median() / (_MAD_OF_UNIT_NORMAL * math.sqrt(2))
    return float(differences) / math.sqrt(part.shape[1])
