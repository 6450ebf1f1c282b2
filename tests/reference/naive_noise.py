"""The noise of a sinogram with all of it at once: third differences, medians, one transform."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float64
from torch import Tensor


def noise_from_all_differences(
    values: Float64[Tensor, "views detectors"],
    variance: Float64[Tensor, "views detectors"],
    orders: tuple[int, int],
) -> float:
    """Return the median absolute difference over its spread; rays of variance NaN do not count."""
    weights = [
        torch.tensor([math.comb(n, k) * (-1.0) ** k for k in range(n + 1)]).double() for n in orders
    ]
    differences = _filtered(values, *weights)
    expected = _filtered(variance, *(one.square() for one in weights))
    counted = expected.isfinite()
    return float((differences[counted].abs() / expected[counted].sqrt()).median()) / 0.6744898


def noise_from_whole_transform(
    turn: Float64[Tensor, "views detectors"], variance: Float64[Tensor, "views detectors"]
) -> float:
    """Return the root of the mean power in the corner of one two-dimensional transform."""
    n_views, n_detectors = turn.shape
    power = torch.fft.rfft2(turn).abs().square() / float(variance.nansum())
    m = torch.arange(n_views)[:, None]
    k = torch.arange(power.shape[1])[None]
    corner = (m > math.pi * k + 3) & (2 * m < n_views) & (k > 0) & (2 * k < n_detectors)
    values = power[corner].sort().values
    kept = values[: math.ceil(0.75 * len(values))]
    return math.sqrt(float(kept.mean()) / (1 + 0.25 * math.log(0.25) / 0.75))


def _filtered(values: Tensor, along_views: Tensor, along_detector: Tensor) -> Tensor:
    rows = values.unfold(1, len(along_detector), 1) @ along_detector
    return rows.unfold(0, len(along_views), 1) @ along_views
