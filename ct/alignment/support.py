"""How large an object is, from its shadow."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

_LEAST = 0.03  # of the largest value: less is background
_SMALLEST, _MARGIN = 8.0, 2.0  # bins


def support_radius(sinogram: Float64[Tensor, "slices views detectors"], center: float) -> float:
    """Return how far from the axis the object's shadow reaches in any view, in bins.

    Args:
        sinogram: line integrals.
        center: the detector index of the axis.

    Returns:
        The radius, a little too large.

    Example:
        >>> view = torch.zeros(1, 4, 60, dtype=torch.float64)
        >>> view[..., 20:40] = 1.0
        >>> support_radius(view, 30.0)
        14.0
    """
    smooth = torch.nn.functional.avg_pool1d(sinogram.abs(), 5, stride=1, padding=2)
    profile = smooth.amax((0, 1))
    inside = torch.nonzero(profile > _LEAST * profile.max())[:, 0]
    first, last = float(inside[0]), float(inside[-1])
    return max(center - first, last - center, _SMALLEST) + _MARGIN
