"""How noisy a sinogram is, from the sinogram alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.checks import as_finite_tensor

_DIFFERENCE = (1.0, -5.0, 10.0, -10.0, 5.0, -1.0)  # what it leaves of a smooth view is little
_MAD_OF_UNIT_NORMAL = 0.6744898
_FEWEST_VALUES = 30  # a tenth of relative error, the least that is worth having
_KEPT = 0.75
_MARGIN = 3  # angular frequencies by which an object's edges spill over the wedge's border


def estimate_noise_std(sinogram: Tensor | NDArray[Any]) -> float:
    """Estimate the standard deviation of white noise on the rays of one slice.

    It is the smallest of what three estimators find:

    - along each view, the median absolute fifth difference of neighbouring bins, over
      0.6745 · ‖(1, −5, 10, −10, 5, −1)‖;
    - the mean power in the empty corner of the sinogram's Fourier transform over a full turn: an
      object within radius R has next to nothing at angular frequency |m| > R|ω| (the "double
      wedge"), where R is half the detector's width; once as if the views were evenly spaced over
      half a turn (the other half is its mirror image), once as if over a full turn.

    What an estimator sees besides the noise, sharp edges along a view, or views that are not
    spaced as it assumes, makes it too large: so the smallest is nearest. Bins that are exactly
    zero (padding, dead detectors) do not count. Noise that neighbouring bins share is
    underestimated.

    Args:
        sinogram: [views, detectors], line integrals in any unit.

    Returns:
        The standard deviation in the sinogram's units. Measured on CT slices and phantoms of
        128² to 512² pixels, 60 or 120 views over half a turn: within 8 % for noise of 1 % of the
        sinogram's rms, up to 23 % too large for 0.3 %. With 20 views the error is within 20 % for
        1 %; with fewer, or unevenly spaced ones, only the differences count: up to 30 % too large
        for 1 %.

    Raises:
        ValueError: not two-dimensional or not finite, too few bins that are not zero, or no noise.

    Source:
        The double wedge: P. R. Edholm, R. M. Lewitt, B. Lindholm, Novel properties of the Fourier
        decomposition of the sinogram, Proc. SPIE 671, 1986.

    Example:
        >>> noise = torch.randn(60, 91, generator=torch.Generator().manual_seed(0))
        >>> round(estimate_noise_std(5.0 + 0.1 * noise), 2)
        0.1
    """
    values = as_finite_tensor(sinogram, "sinogram", ndim=(2,), dtype=torch.float64)
    live = values != 0
    mirrored = torch.cat([values, values.flip(1)]), torch.cat([live, live.flip(1)])
    found = [
        _from_differences(values, live),
        _from_empty_corner(*mirrored),
        _from_empty_corner(values, live),
    ]
    estimates = [estimate for estimate in found if estimate is not None]
    if not estimates:
        raise ValueError(
            f"sinogram: {int(live.sum())} bins that are not zero, of shape "
            f"{tuple(values.shape)}, are too few to estimate the noise from; pass noise_std."
        )
    smallest = min(estimates)
    if not smallest > 1e-12 * float(values.abs().max()):
        raise ValueError("sinogram: expected noisy values, found no noise in them; pass noise_std.")
    return smallest


def _from_differences(
    values: Float64[Tensor, "views detectors"], live: Bool[Tensor, "views detectors"]
) -> float | None:
    weights = values.new_tensor(_DIFFERENCE)
    if values.shape[1] < len(weights):
        return None
    differences = values.unfold(1, len(weights), 1) @ (weights / weights.norm())
    differences = differences[live.unfold(1, len(weights), 1).all(-1)]
    if len(differences) < _FEWEST_VALUES:
        return None
    return float(differences.abs().median()) / _MAD_OF_UNIT_NORMAL


def _from_empty_corner(
    turn: Float64[Tensor, "views detectors"], live: Bool[Tensor, "views detectors"]
) -> float | None:
    n_views, n_detectors = turn.shape
    n_live = int(live.sum())
    if n_live == 0:
        return None
    # each value has the noise's variance as its mean: zeros bring no noise into the sum
    power = torch.fft.rfft2(turn).abs().square() / n_live
    m = torch.arange(n_views, device=turn.device)[:, None]
    k = torch.arange(power.shape[1], device=turn.device)[None, :]
    # R ω = (detectors/2)(2πk/detectors). Half of all m, the others being conjugates of a mirrored
    # turn; and neither k = 0 nor the Nyquist frequency, where mirroring makes every other m vanish
    corner = (m > math.pi * k + _MARGIN) & (2 * m < n_views) & (k > 0) & (2 * k < n_detectors)
    values = power[corner].sort().values
    if len(values) < _FEWEST_VALUES:
        return None
    # leaked structure sits in a few large values: average the rest. Power is exponentially
    # distributed, so the mean of its lowest fraction q is 1 + (1 − q) log(1 − q)/q of the whole's
    kept = values[: math.ceil(_KEPT * len(values))]
    expected = 1 + (1 - _KEPT) * math.log(1 - _KEPT) / _KEPT
    return math.sqrt(float(kept.mean()) / expected)
