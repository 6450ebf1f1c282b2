"""The centre of rotation from lines that were measured twice, from opposite sides."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from ct.alignment.between_views import BetweenViews
from ct.alignment.estimate import CenterEstimate, jackknife
from ct.alignment.turns import covers, step_between_views
from ct.geometry import FanBeam, Scan

_COARSE_BINS, _COARSE_VIEWS = 80, 60  # the first search runs on about so many
_LEAST_OVERLAP = 0.08  # of the detector
_LEAST_PAIRS = 0.002  # of all rays
_GROUPS = 8
_SLACK = 4  # half bins that a search near a centre goes beyond what the fit needs


def share_of_opposite_views(scan: Scan) -> float:
    """Return the share of rays near the axis that were measured again from the other side.

    Args:
        scan: where the rays are.

    Returns:
        From 0 (half a turn or less) to 1 (a full turn).

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> share_of_opposite_views(ParallelBeam([k * math.pi / 4 for k in range(8)], 5))
        1.0
    """
    opposite = torch.tensor(scan.angles, dtype=torch.float64)[:, None] + math.pi
    return float(BetweenViews.of(scan, opposite).valid.double().mean())


def center_from_opposite_rays(
    sinogram: Float64[Tensor, "slices views detectors"],
    measured: Bool[Tensor, "slices views detectors"],
    scan: Scan,
    *,
    around: float | None = None,
) -> CenterEstimate:
    """Find the centre about which a line's two measurements agree best.

    The ray at angle γ in the view at θ is the ray at −γ in the view at θ + π − 2γ (γ = 0 for a
    parallel beam), run backwards. With g' the other measurement, the score is Σ (g − g')² over
    Σ ((g − μ)² + (g' − μ)²), all over the rays that have one, so that a small overlap, as of a
    detector that was moved to the side, counts as much as a large one. Centres are tried every half
    bin, where mirrored bins fall on bins; views between views come from cubic interpolation after
    a low-pass along the detector that fits the views' spacing.

    Args:
        sinogram: line integrals.
        measured: which of them were measured.
        scan: where the rays are; its own centre is not used. A fan's source_offset is taken as
            given, to first order in the angle at which the source sees it.
        around: a centre to look near, with some 60 of the views; None looks everywhere, with all.

    Returns:
        The centre.
    """
    if covers(scan.angles, 2 * math.pi):
        # the mean over a full turn is symmetric about the axis: without it, stripes are gone
        share = measured.double().mean(1, keepdim=True).clamp(min=1e-9)
        sinogram = sinogram - (sinogram * measured).mean(1, keepdim=True) / share
    width = max(1.0, _needed_blur(scan))
    measured = _away_from_missing(measured, math.ceil(width))
    offset = _axis_offset(scan)
    if around is None:
        candidates, scores, slack = _first_search(sinogram, measured, scan, width)
        start = float(candidates[scores.argmin()])
    else:
        start, slack = around - offset, _SLACK
    reach = math.ceil(max(4.0, 2 * width))
    stride = max(1, math.floor(width / 2))
    lags = round(2 * start) + torch.arange(-reach - slack, reach + slack + 1, stride)
    lags = torch.unique(lags.clamp(1, 2 * scan.n_detectors - 3))
    thinned = 1 if around is None else max(1, scan.n_views // _COARSE_VIEWS)
    rows = torch.arange(0, scan.n_views, thinned)
    sums = _compare(_blurred(sinogram, width), measured, scan, lags, rows)
    lag, error = jackknife(sums, lambda total: _lowest(lags.double(), _scores(total), reach))
    if around is not None:
        candidates, scores = lags.double() / 2, _scores(sums.sum(0))
    return CenterEstimate(
        center=lag / 2 + offset,
        error=error / 2,
        method="agreement of opposite rays",
        candidates=candidates + offset,
        scores=scores,
    )


def _first_search(
    sinogram: Float64[Tensor, "slices views detectors"],
    measured: Bool[Tensor, "slices views detectors"],
    scan: Scan,
    width: float,
) -> tuple[Float64[Tensor, " candidates"], Float64[Tensor, " candidates"], int]:
    """Return centres all over the detector, their scores, and how far off the best may be."""
    bins = max(1, scan.n_detectors // _COARSE_BINS, math.floor(width / 2))
    first = bins // 2  # of the bins that are used
    coarse = _blurred(sinogram, max(width, bins / 2))[..., first::bins]
    n_coarse = coarse.shape[-1]
    least = math.ceil(_LEAST_OVERLAP * n_coarse)
    lags = torch.arange(least, 2 * n_coarse - 1 - least)
    some = torch.arange(0, scan.n_views, max(1, scan.n_views // _COARSE_VIEWS))
    coarse_scan = _coarse_scan(scan, n_coarse, bins)
    sums = _compare(coarse, measured[..., first::bins], coarse_scan, lags, some)
    return lags.double() / 2 * bins + first, _scores(sums.sum(0)), 2 * bins


def _compare(
    sinogram: Float64[Tensor, "slices views detectors"],
    measured: Bool[Tensor, "slices views detectors"],
    scan: Scan,
    lags: Int64[Tensor, " lags"],
    rows: Int64[Tensor, " rows"],
) -> Float64[Tensor, "groups sums_of_lags"]:
    """Return Σ (g − g')², Σ g² + g'², Σ g + g' and their number, for groups of some views."""
    n = scan.n_detectors
    theta = torch.tensor(scan.angles, dtype=torch.float64)[rows, None]
    group = torch.arange(len(rows)) * _GROUPS // len(rows)
    found = []
    for lag in lags.tolist():
        here = torch.arange(max(0, lag - n + 1), min(n - 1, lag) + 1)
        fan = _fan_angle(scan, here, lag / 2)
        opposite = BetweenViews.of(scan, theta + math.pi - 2 * fan)
        one, other, valid = _pairs(sinogram, measured, rows, here, lag, opposite)
        count = valid.double()
        sums = [
            (one - other).square() * count,
            (one.square() + other.square()) * count,
            (one + other) * count,
            2 * count,
        ]
        by_view = torch.stack([part.sum((0, 2)) for part in sums]).cpu()
        found.append(by_view.new_zeros(4, _GROUPS).index_add_(1, group, by_view))
    return torch.stack(found, dim=-1).transpose(0, 1).flatten(1)


def _pairs(
    sinogram: Float64[Tensor, "slices views detectors"],
    measured: Bool[Tensor, "slices views detectors"],
    rows: Int64[Tensor, " rows"],
    here: Int64[Tensor, " here"],
    lag: int,
    opposite: BetweenViews,
) -> tuple[
    Float64[Tensor, "slices rows here"],
    Float64[Tensor, "slices rows here"],
    Bool[Tensor, "slices rows here"],
]:
    """Return bins, what the opposite rays measured, and whether both did."""
    place = sinogram.device
    shape = (len(rows), len(here))
    views = opposite.views.expand(*shape, -1).to(place)
    weights = opposite.weights.expand(*shape, -1).to(place)
    there = (lag - here).to(place)[None, :]
    first, last = int(here[0]), int(here[-1]) + 1
    rows = rows.to(place)
    one = sinogram[:, rows, first:last]
    other = torch.zeros_like(one)
    valid = measured[:, rows, first:last] & opposite.valid.expand(shape).to(place)
    for index, weight in zip(views.unbind(-1), weights.unbind(-1), strict=True):
        other += sinogram[:, index, there] * weight
        valid = valid & (measured[:, index, there] | (weight == 0))
    return one, other, valid


def _scores(sums: Float64[Tensor, " sums_of_lags"]) -> Float64[Tensor, " lags"]:
    difference, square, total, count = sums.reshape(4, -1)
    energy = square - total.square() / count.clamp(min=1)
    enough = count >= max(_LEAST_PAIRS * float(count.max()), 8)
    floor = 1e-12 * float(square.max()) + 1e-300
    return torch.where(enough & (energy > floor), difference / energy.clamp(min=floor), 2.0)


def _lowest(lags: Float64[Tensor, " lags"], scores: Float64[Tensor, " lags"], reach: int) -> float:
    """Return where a quartic through the scores around the least one is least."""
    best = lags[scores.argmin()]
    near = (lags - best).abs() <= reach
    order = torch.arange(min(5, int(near.sum())), dtype=torch.float64)
    coefficients = torch.linalg.pinv(((lags[near] - best) / reach)[:, None] ** order) @ scores[near]
    wide = max(1.5, float(lags.diff().max()))
    dense = wide / reach * torch.linspace(-1, 1, 4001, dtype=torch.float64)
    curve = dense[:, None] ** order @ coefficients
    return float(best + dense[curve.argmin()] * reach)


def _fan_angle(scan: Scan, bins: Int64[Tensor, " bins"], center: float) -> Float64[Tensor, " bins"]:
    if not isinstance(scan, FanBeam):
        return torch.zeros(len(bins), dtype=torch.float64)
    ratio = (bins.double() - center) * scan.detector_spacing / scan.source_detector
    return ratio if scan.curved else ratio.atan()


def _axis_offset(scan: Scan) -> float:
    """Return how far `center` lies beyond the bin that the axis projects to."""
    if not isinstance(scan, FanBeam):
        return 0.0
    angle = math.atan2(scan.source_offset, scan.source_origin)
    slope = angle if scan.curved else math.tan(angle)
    return slope * scan.source_detector / scan.detector_spacing


def _needed_blur(scan: Scan) -> float:
    """Return the blur in bins after which views between views can be interpolated."""
    step = step_between_views(scan.angles, 2 * math.pi)
    if not isinstance(scan, FanBeam):
        opposite = torch.tensor(scan.angles, dtype=torch.float64) + math.pi
        if BetweenViews.of(scan, opposite).exact:
            return 0.0
    return scan.n_detectors * step / 4


def _blurred(
    sinogram: Float64[Tensor, "slices views detectors"], width: float
) -> Float64[Tensor, "slices views detectors"]:
    reach = min(math.ceil(3 * width), sinogram.shape[-1] - 1)
    offset = torch.arange(-reach, reach + 1, device=sinogram.device, dtype=torch.float64)
    kernel = torch.exp(-((offset / width) ** 2) / 2)
    padded = torch.nn.functional.pad(sinogram, (reach, reach), mode="replicate")
    rows = padded.reshape(-1, 1, padded.shape[-1])
    blurred: Tensor = torch.nn.functional.conv1d(rows, (kernel / kernel.sum())[None, None])
    return blurred.reshape(sinogram.shape)


def _away_from_missing(
    measured: Bool[Tensor, "slices views detectors"], reach: int
) -> Bool[Tensor, "slices views detectors"]:
    """Return the rays that a blur has not mixed with missing ones."""
    missing = (~measured).double()
    near = torch.nn.functional.max_pool1d(missing, 2 * reach + 1, stride=1, padding=reach)
    return near == 0


def _coarse_scan(scan: Scan, n_detectors: int, bins: int) -> Scan:
    spacing = scan.detector_spacing * bins
    settings = {"n_detectors": n_detectors, "detector_spacing": spacing, "center": None}
    return type(scan)(**{**vars(scan), **settings})
