"""Stripes in sinograms, which become rings in images: found and taken out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count, check_positive
from ct.artefacts.detector_windows import bridged, running_median
from ct.artefacts.stripe_size import stripe_ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_INNER = 0.1  # of the ranks at either end do not count: extremes are noisy
_STILL, _RESTLESS = 0.1, 5.0  # how much a bin may vary from view to view, against its neighbours
_WIDER = 3  # windows: the neighbours that a bin must stand out from
_TAU = 1.4826  # standard deviation over median absolute deviation


def remove_stripes(
    sinogram: ArrayLike | Tensor, *, window: int = 11, threshold: float = 8.0
) -> Float[Tensor, "*slices views detectors"]:
    """Take stripes of four kinds out of a sinogram.

    1. Dead or restless bins, which vary from view to view a tenth of what their neighbours do or
       five times as much, are bridged by a straight line.
    2. Stripes along all views: sorted along the views, neighbouring bins hold nearly the same
       values, because an object's shadow passes over all of them, and a stripe stands out in all
       ranks. What the mean of a bin's inner ranks differs by from the running median along the
       detector is subtracted, shrunk by τ²/(τ² + σ²/views) so that a sinogram without stripes
       (τ = 0) is left alone.
    3. Stripes along some views, or of changing strength: bins whose sorted values still stand out
       take the running median at each rank, put back in the views' order.

    Everything is relative to the neighbours within `window`: stripes as wide as half of it stay.
    The defaults were chosen on phantoms of ellipses and CT slices at 40 dB. There, with noise σ of
    a ray, a sinogram without stripes changes by 0.06–0.15σ rms; stripes of 3σ on every bin fall
    to 1.0–1.3σ, of 20σ on a few bins to a fifth or less, of 15σ on four neighbours to a quarter or
    less, of 25σ over a third of the views to a half or two thirds.

    Args:
        sinogram: line integrals, [views, detectors] or [slices, views, detectors].
        window: bins of the running median, odd; a wider one sees wider stripes, and harms more.
        threshold: how far a bin must stand out, in standard deviations over its slice's bins, for
            the third step.

    Returns:
        The sinogram without stripes, of the same shape, dtype and device.

    Raises:
        ValueError: a sinogram with NaN or of another shape, an even window, a threshold not
            above zero.

    Source:
        Sorting, and the kinds of stripes: N. T. Vo, R. C. Atwood, M. Drakopoulos, Superior
        techniques for eliminating ring artifacts in X-ray micro-tomography, Optics Express 26,
        2018.

    Example:
        >>> from bayesnn.seeds import seeded_generator
        >>> sinogram = torch.randn(90, 60, generator=seeded_generator(0)) / 10
        >>> sinogram[:, 30] += 5
        >>> round(float(remove_stripes(sinogram)[:, 30].mean()), 1)
        0.0
    """
    values = as_finite_tensor(sinogram, "sinogram", ndim=(2, 3))
    if check_count(window, "window", minimum=3) % 2 == 0:
        raise ValueError(f"window: expected an odd number of bins, got {window}.")
    check_positive(threshold, "threshold")
    stack = values if values.ndim == 3 else values[None]
    if min(stack.shape[1:]) < 3:
        return values  # no neighbours to compare with
    stack = bridged(stack, broken_bins(stack, window))
    ordered, order = stack.sort(dim=1)
    smooth = running_median(ordered, window)
    offset = _inner_mean(ordered - smooth)
    offset = offset * _shrinkage(stack)[:, None]
    unlike = _stands_out(ordered - offset[:, None, :] - smooth, _WIDER * window, threshold)
    corrected = torch.where(unlike[:, None, :], smooth, ordered - offset[:, None, :])
    cleaned = torch.empty_like(stack).scatter_(1, order, corrected)
    return cleaned if values.ndim == 3 else cleaned[0]


def broken_bins(
    sinogram: Float[Tensor, "slices views detectors"], window: int = 11
) -> Bool[Tensor, "slices detectors"]:
    """Return the bins that vary far less or far more from view to view than their neighbours.

    Args:
        sinogram: line integrals.
        window: the neighbours that a bin is compared with.

    Returns:
        Which bins are dead or restless.

    Example:
        >>> from bayesnn.seeds import seeded_generator
        >>> sinogram = torch.randn(1, 90, 60, generator=seeded_generator(0))
        >>> sinogram[..., 30] = 2.0
        >>> broken_bins(sinogram).nonzero().tolist()
        [[0, 30]]
    """
    motion = sinogram.diff(dim=1).abs().mean(1)
    usual = running_median(motion, window)
    return (motion < _STILL * usual) | (motion > _RESTLESS * usual)


def _inner_mean(
    ordered: Float[Tensor, "slices views detectors"],
) -> Float[Tensor, "slices detectors"]:
    n_views = ordered.shape[1]
    skipped = math.floor(_INNER * n_views)
    return ordered[:, skipped : n_views - skipped].mean(1)


def _shrinkage(stack: Float[Tensor, "slices views detectors"]) -> Float[Tensor, " slices"]:
    ratios = [stripe_ratio(one[None].double()) for one in stack]
    return stack.new_tensor([ratio / (ratio + 1 / stack.shape[1]) for ratio in ratios])


def _stands_out(
    rest: Float[Tensor, "slices views detectors"], window: int, threshold: float
) -> Bool[Tensor, "slices detectors"]:
    distance = rest.square().mean(1).sqrt()
    # near an object's rim all bins stand out
    usual = running_median(distance, window)
    middle = torch.maximum(usual, distance.median(-1, keepdim=True).values)
    spread = _TAU * (distance - middle).abs().median(-1, keepdim=True).values
    return distance > middle + threshold * spread
