"""The centre of rotation, found from the measurements alone."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from ct.alignment.center_of_mass import center_from_mass
from ct.alignment.empty_corner import center_from_empty_corner
from ct.alignment.estimate import CenterEstimate
from ct.alignment.opposite_rays import center_from_opposite_rays, share_of_opposite_views
from ct.alignment.support import support_radius
from ct.alignment.turns import covers
from ct.artefacts.stripe_size import stripe_ratio
from ct.artefacts.truncation import truncated_share
from ct.geometry import FanBeam, ParallelBeam, Scan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_ENOUGH_OPPOSITE = 0.2  # of the views, for opposite rays to decide
_ENOUGH_OPPOSITE_FAN = 0.02
_CUT_OFF = 0.02  # of the views: fewer may be cut off by chance
_SURE, _DIFFER = 0.5, 5.0
_SYSTEMATIC = 0.005  # bins: what interpolation and finite bins leave


def find_center(
    sinogram: ArrayLike | Tensor,
    scan: Scan,
    *,
    noise_std: ArrayLike | Tensor | None = None,
) -> CenterEstimate:
    """Find the detector index that the axis of rotation projects to.

    Which way depends on the scan:

    - lines measured twice, from opposite sides (a parallel beam over well more than half a turn, a
      fan over more than half a turn plus its own angle): their agreement, also for an axis far from
      the detector's middle and for objects wider than the detector;
    - half a turn of a parallel beam: the smoothness of the views with their mirror images, compared
      with the path of the centre of mass;
    - a shorter arc of a parallel beam: the path of the centre of mass, with its larger error.

    For a fan beam the sideways offset of the source cannot be told from `center` (for a curved
    detector they are the same but for a rotation of the image), so `scan.source_offset` is taken as
    given and should be small against source_origin.

    Args:
        sinogram: line integrals, [views, detectors] or [slices, views, detectors]; all slices
            have one centre.
        scan: where the rays are; its own centre is not used.
        noise_std: as for `ct.reconstruct`; only where it is infinite (no measurement) matters.

    Returns:
        The centre, its error, and the score of other centres. `notes` says what is doubtful.

    Raises:
        ValueError: a sinogram with NaN, of another shape than the scan, or without anything in it;
            a scan that no way above fits: an arc too short, or cut off at the detector's edges.

    Example:
        >>> scan = ParallelBeam([k * math.pi / 20 for k in range(40)], n_detectors=41)
        >>> x = torch.arange(41) - 18.3
        >>> path = 6 * torch.cos(torch.tensor(scan.angles)) - 2 * torch.sin(
        ...     torch.tensor(scan.angles)
        ... )
        >>> found = find_center(torch.exp(-((x - path[:, None]) ** 2) / 18), scan)
        >>> round(found.center, 1), found.method
        (18.3, 'agreement of opposite rays')
    """
    values = as_finite_tensor(sinogram, "sinogram", ndim=(2, 3), dtype=torch.float64)
    if tuple(values.shape[-2:]) != (scan.n_views, scan.n_detectors):
        raise ValueError(
            f"sinogram: expected {scan.n_views} views (the scan's angles) of {scan.n_detectors} "
            f"detectors, got shape {list(values.shape)}; give the angles and detectors that belong "
            "to it."
        )
    if float(values.max()) == float(values.min()):
        raise ValueError("sinogram: expected an object's shadow, got one value everywhere.")
    values = values if values.ndim == 3 else values[None]
    measured = torch.ones_like(values, dtype=torch.bool)
    if noise_std is not None:
        measured &= torch.isfinite(torch.as_tensor(noise_std)).to(values.device)
    cut_off = max(truncated_share(values)) > _CUT_OFF
    opposite = share_of_opposite_views(scan)
    if opposite > (_ENOUGH_OPPOSITE_FAN if isinstance(scan, FanBeam) else _ENOUGH_OPPOSITE):
        found = center_from_opposite_rays(values, measured, scan)
    elif isinstance(scan, FanBeam):
        raise ValueError(
            "scan: expected a fan beam over more than half a turn plus its own angle, in which "
            "lines are measured twice; over a shorter arc the centre cannot be found; give it."
        )
    else:
        found = _from_single_rays(values, scan, cut_off=cut_off)
    return _doubted(found, scan, cut_off=cut_off)


def _from_single_rays(
    values: Float64[Tensor, "slices views detectors"], scan: ParallelBeam, *, cut_off: bool
) -> CenterEstimate:
    half_turn = covers(scan.angles, math.pi)
    if cut_off:
        if not half_turn:
            raise ValueError(
                "sinogram: expected views over half a turn, or views that see the whole object; "
                "from a shorter arc of an object that is cut off at the detector's edges the "
                "centre cannot be found; give it."
            )
        return _from_the_inside(values, scan)
    by_mass = center_from_mass(values, scan)
    if not half_turn:
        note = "the views cover less than half a turn"
        return dataclasses.replace(by_mass, notes=(note,))
    radius = support_radius(values, by_mass.center)
    found = center_from_empty_corner(values, scan, radius=radius, ring_ratio=stripe_ratio(values))
    distance = abs(found.center - by_mass.center)
    if distance > max(_SURE, _DIFFER * math.hypot(found.error, by_mass.error)):
        note = (
            f"the path of the centre of mass says {by_mass.center:.2f}: a background, drifting "
            "brightness, stripes or an object beyond the detector may be the cause"
        )
        return dataclasses.replace(found, notes=(note,))
    return found


def _from_the_inside(
    values: Float64[Tensor, "slices views detectors"], scan: ParallelBeam
) -> CenterEstimate:
    # a window that fades to the edges, symmetric about the axis, keeps the views consistent
    n = scan.n_detectors
    index = torch.arange(n, dtype=torch.float64, device=values.device)
    ratio = stripe_ratio(values)
    center, found = (n - 1) / 2, None
    for _ in range(6):
        radius = min(center, n - 1 - center)
        window = torch.cos((index - center).abs().clamp(max=radius) * math.pi / 2 / radius) ** 2
        level = (values * window).sum((1, 2), keepdim=True) / (window.sum() * scan.n_views)
        found = center_from_empty_corner(
            (values - level) * window,
            scan,
            radius=radius,
            ring_ratio=ratio,
            search=(center - n / 10, center + n / 10),
        )
        if abs(found.center - center) < 0.01:
            break
        center = min(max(found.center, n / 4), 3 * n / 4)
    assert found is not None
    return found


def _doubted(found: CenterEstimate, scan: Scan, *, cut_off: bool) -> CenterEstimate:
    notes = list(found.notes)
    if cut_off:
        notes.append("the object reaches beyond the detector")
    error = math.hypot(found.error, _SYSTEMATIC)
    if error > _SURE:
        notes.append("the measurements hardly tell one centre from another")
    if not 0 <= found.center <= scan.n_detectors - 1:
        notes.append("the centre lies beside the detector")
    return dataclasses.replace(found, error=error, notes=tuple(notes))
