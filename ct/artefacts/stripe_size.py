"""How large stripes are, against the noise."""

from __future__ import annotations

import math

from jaxtyping import Float64
from torch import Tensor

_DIFFERENCE = (1.0, -5.0, 10.0, -10.0, 5.0, -1.0)  # what it leaves of a smooth view is little
_MAD_OF_UNIT_NORMAL = 0.6744898


def stripe_ratio(sinogram: Float64[Tensor, "slices views detectors"]) -> float:
    """Estimate the variance of stripes over the variance of one ray's noise.

    A stripe is the same in every view: in the mean over the views noise falls by their number,
    stripes do not. Both variances come from fifth differences along the detector, by their median
    absolute value; the noise, of the differences of neighbouring views. Stripes that cover a part
    of a turn count for their mean.

    Args:
        sinogram: line integrals.

    Returns:
        The ratio; 0 where there are no stripes.

    Example:
        >>> import torch
        >>> from bayesnn.seeds import seeded_generator
        >>> generator = seeded_generator(0)
        >>> noise = torch.randn(1, 90, 400, generator=generator, dtype=torch.float64)
        >>> stripes = torch.randn(400, generator=generator, dtype=torch.float64)
        >>> round(stripe_ratio(noise), 1), round(stripe_ratio(noise + 2 * stripes))
        (0.0, 4)
    """
    if sinogram.shape[-1] < 2 * len(_DIFFERENCE) or sinogram.shape[-2] < 3:
        return 0.0
    weights = sinogram.new_tensor(_DIFFERENCE)
    weights = weights / weights.norm()
    moved = sinogram.diff(dim=-2) / math.sqrt(2)  # without stripes
    rays = (moved.unfold(-1, len(weights), 1) @ weights).abs().median()
    mean = (sinogram.mean(-2).unfold(-1, len(weights), 1) @ weights).abs().median()
    noise = float(rays / _MAD_OF_UNIT_NORMAL) ** 2
    stripes = float(mean / _MAD_OF_UNIT_NORMAL) ** 2 - noise / sinogram.shape[-2]
    if noise <= 0:
        return 0.0
    return max(0.0, stripes / noise)
