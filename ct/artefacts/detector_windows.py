"""Running medians and gaps along the detector."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_CHUNK = 2**24  # values of all windows together, 64 MiB in float32


def running_median(
    sinogram: Float[Tensor, "*rows detectors"], window: int
) -> Float[Tensor, "*rows detectors"]:
    """Return the median of the bins around each bin; at the ends, of those that are there twice.

    Args:
        sinogram: any rows of bins.
        window: an odd number of bins.

    Returns:
        The medians.

    Example:
        >>> running_median(torch.tensor([[1.0, 9.0, 2.0, 3.0, 4.0]]), 3)
        tensor([[1., 2., 3., 3., 4.]])
    """
    n = sinogram.shape[-1]
    half = min(window // 2, n - 1)
    rows = sinogram.reshape(-1, n)
    found = torch.empty_like(rows)
    step = max(1, _CHUNK // (n * (2 * half + 1)))
    for start in range(0, len(rows), step):
        part = torch.nn.functional.pad(
            rows[None, start : start + step], (half, half), mode="replicate"
        )[0]
        found[start : start + step] = part.unfold(-1, 2 * half + 1, 1).median(-1).values
    return found.reshape(sinogram.shape)


def bridged(
    sinogram: Float[Tensor, "slices views detectors"], broken: Bool[Tensor, "slices detectors"]
) -> Float[Tensor, "slices views detectors"]:
    """Replace bins by a straight line between the nearest others of their view.

    Args:
        sinogram: line integrals.
        broken: the bins to replace; where all of a slice are, nothing is replaced.

    Returns:
        The sinogram without them.

    Example:
        >>> view = torch.tensor([[[1.0, 50.0, 3.0, 7.0]]])
        >>> bridged(view, torch.tensor([[False, True, False, True]]))
        tensor([[[1., 2., 3., 3.]]])
    """
    n = sinogram.shape[-1]
    index = torch.arange(n, device=sinogram.device).expand(broken.shape)
    before = torch.where(broken, -1, index).cummax(-1).values
    after = torch.where(broken, n, index).flip(-1).cummin(-1).values.flip(-1)
    below = torch.where(before < 0, after, before)
    above = torch.where(after >= n, below, after)
    usable = below < n
    below, above = (torch.where(usable, end, index) for end in (below, above))
    share = (index - below).to(sinogram.dtype) / (above - below).clamp(min=1)
    shape = sinogram.shape
    left = sinogram.gather(-1, below[:, None, :].expand(shape))
    right = sinogram.gather(-1, above[:, None, :].expand(shape))
    return torch.where(broken[:, None, :], torch.lerp(left, right, share[:, None, :]), sinogram)
