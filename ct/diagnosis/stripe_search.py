"""Which detector bins show a stripe: noticed in the sinogram, before it becomes a ring."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_DIFFERENCE = (1.0, -4.0, 6.0, -4.0, 1.0)  # what it leaves of a smooth view is little
_MAD_OF_UNIT_NORMAL = 0.6744898
_MEDIAN_SPREAD = 1.2533  # standard deviation of a median of many normal numbers, times √number
_PARTS, _INDEPENDENT = 4, 2  # of the views; neighbouring parts see the same edge
_FEW_BINS = 256
_MIRROR = 3  # bins around a bin's mirror image in which a symmetric object may show the same
_TIMES = 1.5
THRESHOLD = 6.0


def striped_bins(
    sinogram: Float64[Tensor, "views detectors"],
    measured: Bool[Tensor, "views detectors"],
    center: float,
) -> Bool[Tensor, " detectors"]:
    """Return the bins that differ from their neighbours in the same way in most views.

    T_k = |median_θ D(θ, k)| / e_k, with D the fourth difference along the detector. If views are
    independent, the median's variance is (1.25 s_k)²/views, s_k being the spread of D over them.
    Where bins are few (256 at most), they are not: an edge may stay within one bin for half of the
    views or more. A stripe is the same in all quarters of the views, an edge is not. So what the
    variance of the quarters' medians has beyond four times the first is the object's, and half of
    it (neighbours see the same edge: four count as two) is added to e_k². An edge of an object that
    is round about the axis stays where it is, but shows itself at the mirror image about the axis
    too: a stripe is what exceeds 1.5 T there by 6. Stripes within three bins of the axis therefore
    stay unnoticed.

    Args:
        sinogram: line integrals, views in the order of their angles.
        measured: which of them were measured; a bin that mostly was not is no stripe.
        center: the detector index of the axis.

    Returns:
        Which bins have a stripe, or stand beside one.

    Example:
        >>> from bayesnn.seeds import seeded_generator
        >>> sinogram = torch.randn(90, 60, generator=seeded_generator(0)).double()
        >>> sinogram[:, 45] += 4
        >>> measured = torch.ones_like(sinogram, dtype=torch.bool)
        >>> striped_bins(sinogram, measured, 29.5).nonzero().flatten().tolist()
        [44, 45, 46]
    """
    n_views, n = sinogram.shape
    found = torch.zeros(n, dtype=torch.bool, device=sinogram.device)
    if n < 4 * len(_DIFFERENCE) or n_views < 8:
        return found
    weights = sinogram.new_tensor(_DIFFERENCE)
    difference = sinogram.unfold(1, len(weights), 1) @ (weights / weights.norm())
    usable = measured.unfold(1, len(weights), 1).all(-1).double().mean(0) > 0.5
    middle = difference.median(0).values
    spread = (difference - middle).abs().median(0).values
    spread = torch.maximum(spread, spread.median()) / _MAD_OF_UNIT_NORMAL
    variance = (_MEDIAN_SPREAD * spread).square() / n_views
    parts = torch.stack([part.median(0).values for part in difference.tensor_split(_PARTS)])
    of_object = (parts.var(0) - _PARTS * variance).clamp(min=0) if n <= _FEW_BINS else 0.0
    error = (variance + of_object / _INDEPENDENT).sqrt()
    size = torch.where(usable, middle.abs() / error.clamp(min=1e-300), 0.0)
    edge = len(weights) // 2
    # the largest around the mirror image of each bin; beyond the detector there is none
    index = (2 * center - torch.arange(edge, n - edge, device=size.device)).round().long() - edge
    around = torch.nn.functional.max_pool1d(size[None], 2 * _MIRROR + 1, 1, _MIRROR)[0]
    inside = (index >= 0) & (index < len(size))
    mirrored = torch.where(inside, around[index.clamp(0, len(size) - 1)], 0.0)
    found[edge : n - edge] = size > _TIMES * mirrored + THRESHOLD
    return found
