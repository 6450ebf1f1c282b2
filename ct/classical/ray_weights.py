"""How much each ray of a scan counts, where views are uneven, or see some lines twice."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from ct.geometry import FanBeam, ParallelBeam, Scan

_MISSING_WEDGE = 4.0  # a gap so many times wider than nine tenths of them: views not taken
_STEEPEST = math.radians(80)
_TAPER = math.pi / 6  # over which rays near the end of a range of views hand over to their twins


def ray_weights(scan: Scan) -> Float64[Tensor, "views detectors"]:
    """Return the weight in radians of each ray in a sum over views.

    The weights of the rays along one line add up to the angle that the line stands for: in half a
    turn of n parallel views, π/n. A view stands for half the angles to its neighbours; a gap over
    four times as wide as nine tenths of the gaps is a wedge without views: its neighbours are not
    made to stand for it.

    A line that is measured twice, from opposite sides, is shared: each of the two rays counts
    c/(c + c'), where c falls smoothly to zero towards the ends of the detector and of the ranges of
    views. So it does in a short scan of a fan (over half a turn and the fan's angle), and in a full
    turn with the axis off the detector's middle, which sees a wider field. A line measured once
    counts whole, and one never measured is missing: an image from less than a short scan is a best
    effort, with the artefacts of a limited angle.

    Args:
        scan: where the rays are.

    Returns:
        The weights, all ≥ 0.

    Source:
        D. L. Parker, Medical Physics 9, 1982 (short scans); G. Wang, Medical Physics 29, 2002
        (detectors off the middle). The angle to the end of a range, in place of Parker's
        function of the place in a scan of one given length, serves every set of views.

    Example:
        >>> ray_weights(ParallelBeam((0.0, 0.5 * math.pi), n_detectors=1)).tolist()
        [[1.5707963267948966], [1.5707963267948966]]
    """
    angles = torch.tensor(scan.angles, dtype=torch.float64)
    lateral, slant, first, last = _lateral(scan)
    if isinstance(scan, ParallelBeam) and abs(first + last) <= 1.01 * scan.detector_spacing:
        # every line is seen from both sides or from none: half a turn holds everything
        return _spacings(angles, math.pi)[:, None].expand(-1, scan.n_detectors)
    ranges = _ranges(angles)
    twin = angles[:, None] + math.pi - 2 * slant
    own = _to_view_end(angles, ranges)[:, None] * _to_detector_end(lateral, first, last)
    other = _to_view_end(twin, ranges) * _to_detector_end(-lateral, first, last)
    return _spacings(angles, 2 * math.pi)[:, None] * own / (own + other)


def evened(scan: Scan) -> tuple[Scan, tuple[int, int]]:
    """Return the scan with bins added where its detector's shorter side ends.

    The rays that such a scan measures from one side alone still count where the other view's
    detector has no bins: filtering must reach there.

    Args:
        scan: where the rays are.

    Returns:
        The scan with a detector that ends equally far from the origin on both sides, and how many
        bins it has more at the start and at the end.

    Example:
        >>> scan, added = evened(ParallelBeam((0.0,), n_detectors=3, center=0.0))
        >>> scan.n_detectors, scan.center, added
        (5, 2.0, (2, 0))
    """
    farthest = max(scan.rays.distance[0, [0, -1]].tolist(), key=abs)
    index = _index_of(scan, -farthest)
    at_start = max(0, math.floor(-index))
    at_end = max(0, math.floor(index - (scan.n_detectors - 1)))
    more = {
        "n_detectors": scan.n_detectors + at_start + at_end,
        "center": scan.center + at_start,
    }
    return type(scan)(**{**vars(scan), **more}), (at_start, at_end)


def _lateral(
    scan: Scan,
) -> tuple[Float64[Tensor, " detectors"], Float64[Tensor, " detectors"], float, float]:
    """Return where rays pass the origin, their angle to its ray, and the detector's two ends.

    The ray at lateral position l of a view is, from the other side, the one at −l in the view at
    θ + π − 2·angle. In a fan both numbers are the angle at the source between the ray and the
    origin; in a parallel beam, l is s in mm and there is no angle.
    """
    if isinstance(scan, FanBeam):
        ratio = _with_ends(scan) / scan.source_detector
        gamma = ratio if scan.curved else ratio.atan()
        gamma = gamma + math.atan2(scan.source_offset, scan.source_origin)
        return gamma[1:-1], gamma[1:-1], float(gamma[0]), float(gamma[-1])
    s = _with_ends(scan)
    return s[1:-1], torch.zeros_like(s[1:-1]), float(s[0]), float(s[-1])


def _index_of(scan: Scan, distance: float) -> float:
    """Return the detector index of the ray that passes the origin at that signed distance in mm."""
    t = distance
    if isinstance(scan, FanBeam):
        radius = math.hypot(scan.source_origin, scan.source_offset)
        gamma = math.asin(distance / radius) - math.atan2(scan.source_offset, scan.source_origin)
        # still farther out, rays of a flat detector would run along it
        gamma = min(max(gamma, -_STEEPEST), _STEEPEST)
        t = (gamma if scan.curved else math.tan(gamma)) * scan.source_detector
    return t / scan.detector_spacing + scan.center


def _with_ends(scan: Scan) -> Float64[Tensor, " bins_and_ends"]:
    middle = scan.detector_positions
    half = scan.detector_spacing / 2
    return torch.cat([middle[:1] - half, middle, middle[-1:] + half])


def _spacings(angles: Float64[Tensor, " views"], period: float) -> Float64[Tensor, " views"]:
    """Return half the angle between each view's neighbours on a circle, without missing wedges."""
    ordered, order = angles.remainder(period).sort()
    after, usual, wedges = _gaps(ordered, period)
    after = torch.where(wedges, usual, after)
    weights = torch.empty_like(ordered)
    weights[order] = (after + after.roll(1)) / 2
    return weights


def _gaps(
    ordered: Float64[Tensor, " views"], period: float
) -> tuple[Float64[Tensor, " views"], Float64[Tensor, ""], Bool[Tensor, " views"]]:
    """Return the gap after each view, the usual gap, and which gaps are wedges without views."""
    after = torch.diff(ordered, append=ordered[:1] + period)
    real = after[after > 1e-9].sort().values  # over a full turn views coincide modulo π
    wide = real[int(0.9 * (len(real) - 1))]  # with random angles, far above the median
    return after, real.median(), after > _MISSING_WEDGE * wide


def _ranges(angles: Float64[Tensor, " views"]) -> list[tuple[float, float]]:
    """Return (start, length) of the unbroken ranges of views; none where they close the circle."""
    ordered = angles.remainder(2 * math.pi).sort().values
    _, usual, wedges = _gaps(ordered, 2 * math.pi)
    last = wedges.nonzero()[:, 0]
    starts = ordered[(last + 1) % len(ordered)] - usual / 2
    ends = ordered[last] + usual / 2
    starts = starts.roll(1)  # the range that ends at a wedge starts after the wedge before
    lengths = (ends - starts).remainder(2 * math.pi)
    return list(zip(starts.tolist(), lengths.tolist(), strict=True))


def _to_view_end(
    angles: Float64[Tensor, "*shape"], ranges: list[tuple[float, float]]
) -> Float64[Tensor, "*shape"]:
    """Return 0 outside the ranges of views and at their ends, 1 far inside."""
    if not ranges:
        return torch.ones_like(angles)
    inside = torch.zeros_like(angles)
    for start, length in ranges:
        after = (angles - start).remainder(2 * math.pi)
        inside = torch.maximum(inside, torch.minimum(after, length - after))
    return _smooth(inside / _TAPER)


def _to_detector_end(
    lateral: Float64[Tensor, " detectors"], first: float, last: float
) -> Float64[Tensor, " detectors"]:
    """Return 0 beyond the detector and at its ends, 1 farther inside than what is seen twice."""
    seen_twice = 2 * max(min(-first, last), 1e-9 * (last - first))
    return _smooth(torch.minimum(lateral - first, last - lateral) / seen_twice)


def _smooth(share: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    return torch.sin(share.clamp(0, 1) * (math.pi / 2)).square()
