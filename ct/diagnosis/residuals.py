"""χ² of an image: how far its sinogram is from the measured one, in units of the noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """Mean of ((measured − predicted)/σ)² over the rays that were measured.

    It is near 1 where the image explains the measurements up to their noise, below 1 by the share
    of the rays that the image has been fitted to, and above 1 where it does not: also for methods
    that smooth, such as filtered back-projection.

    Attributes:
        chi2: over all rays.
        per_view: over each view; NaN for a view without a measured ray.
        per_detector: over each bin; NaN for a bin that was never measured.
    """

    chi2: float
    per_view: Float[Tensor, " views"]
    per_detector: Float[Tensor, " detectors"]


def residuals(
    sinogram: Float[Tensor, "views detectors"],
    predicted: Float[Tensor, "views detectors"],
    noise_std: Float[Tensor, "*views_detectors"],
) -> Residuals:
    """Compare a measured sinogram with an image's.

    Args:
        sinogram: line integrals as measured.
        predicted: those of the image.
        noise_std: of each ray, one number or one a ray; infinite for rays that were not measured.

    Returns:
        χ² per ray, over all rays, each view and each bin.

    Example:
        >>> found = residuals(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor(0.5))
        >>> found.chi2, found.per_view.tolist()
        (4.0, [4.0, 4.0])
    """
    noise = noise_std.to(sinogram).expand(sinogram.shape)
    measured = torch.isfinite(noise)
    square = torch.where(measured, ((sinogram - predicted) / noise).square(), 0.0)
    return Residuals(
        chi2=float(square.sum() / measured.sum()),
        per_view=square.sum(1) / measured.sum(1),
        per_detector=square.sum(0) / measured.sum(0),
    )
