"""The alarm: do measurements, geometry and image fit together, and if not, why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.alignment.opposite_rays import center_from_opposite_rays, share_of_opposite_views
from ct.alignment.support import support_radius
from ct.alignment.turns import covers
from ct.artefacts.stripes import remove_stripes
from ct.artefacts.truncation import large_value, truncated_share
from ct.diagnosis.empty_corner_fit import CornerFit, fit_empty_corner
from ct.diagnosis.findings import Finding
from ct.diagnosis.residuals import Residuals, residuals
from ct.diagnosis.stripe_search import striped_bins
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan

_LEAST_SHIFT = 0.25  # bins: a smaller one does no harm
_LEAST_HARDENING = 0.01  # of the largest line integral, missing there
_SURE = 5.0  # standard deviations
_CUT_OFF = 0.05  # of the views
_ENOUGH_OPPOSITE, _ENOUGH_OPPOSITE_FAN = 0.2, 0.02  # of the views
_ENOUGH_MEASURED = 0.9  # of the rays: pairs that some centres have and others lack bias the best
_OUTSIDE = 0.03  # of the largest values, on rays that miss the image


@dataclass(frozen=True, kw_only=True, eq=False)
class Mismatch:
    """How well measurements, geometry and image fit together.

    Attributes:
        findings: what was noticed, each with a name; none where everything fits.
        unchecked: names of what these views cannot show, such as "beam hardening" for short arcs.
        residuals: χ² of the image's sinogram; None without one.
    """

    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()
    residuals: Residuals | None = field(default=None)


def mismatch(
    sinogram: Float[Tensor, "views detectors"],
    predicted: Float[Tensor, "views detectors"] | None,
    noise_std: Float[Tensor, "*views_detectors"],
    scan: Scan,
    grid: ImageGrid,
) -> Mismatch:
    """Notice, and name, what contradicts the description of one slice's scan.

    All findings rest on the measurements alone, so that they hold for every method: a
    reconstruction can hide what is wrong in its image. They are

    - "truncation": views that do not fall to nothing at the detector's edges, or rays that see
      something and miss the image;
    - "rings": bins that differ from their neighbours in the same way in most views;
    - "centre of rotation": opposite rays, or half a turn and its mirror image, agree better with
      another centre, a quarter of a bin or more away;
    - "beam hardening": y = p − βp² with β > 0 explains what no object can show (two dense parts, or
      one that is not round; one round object alone looks the same with and without).

    On scans that fit (phantoms and pixel images, 20 to 180 views, 25 to 40 dB), fewer than one in a
    hundred gave a finding; of Shepp–Logan phantoms of only 32² pixels, one in fifty. Truncation
    leaves the centre and beam hardening of a half turn unchecked, and so does a tenth of the rays
    not measured with a full turn's centre; stripes are taken out before these are looked for.

    Args:
        sinogram: line integrals.
        predicted: the reconstruction's sinogram, for χ²; None for none.
        noise_std: of each ray, one number or one a ray; infinite for rays that were not measured.
        scan: where the rays are.
        grid: where the pixels are.

    Returns:
        What was found.

    Example:
        >>> angles = [k * math.pi / 40 for k in range(40)]
        >>> x = torch.arange(61) - 30.0
        >>> path = 6 * torch.cos(torch.tensor(angles))
        >>> sinogram = torch.exp(-((x - path[:, None]) ** 2) / 18)
        >>> wrong = ParallelBeam(angles, 61, center=31.0)
        >>> found = mismatch(sinogram, None, torch.tensor(0.01), wrong, ImageGrid((61, 61)))
        >>> [finding.name for finding in found.findings]
        ['centre of rotation']
    """
    y = sinogram.detach().double().cpu()
    noise = noise_std.detach().double().cpu().expand(y.shape)
    measured = torch.isfinite(noise)
    rings = _rings(y, measured, scan)
    if rings:
        y = remove_stripes(y)
    found = [*_truncation(y, scan), *_outside(y, noise, scan, grid)]
    cut_off = any(finding.name == "truncation" for finding in found)
    unchecked = []
    fit = _corner_fit(y, scan) if not cut_off else None
    shift = _shift(y, measured, scan, fit)
    if shift is None:
        unchecked.append("centre of rotation")
    else:
        found += _wrong_center(*shift)
    if fit is None:
        unchecked.append("beam hardening")
    else:
        found += _hardening(fit, large_value(y))
    return Mismatch(
        findings=(*found, *rings),
        unchecked=tuple(unchecked),
        residuals=None if predicted is None else residuals(sinogram, predicted, noise_std),
    )


def _truncation(y: Float64[Tensor, "views detectors"], scan: Scan) -> list[Finding]:
    first, last = truncated_share(y)
    # over a full turn a detector may end inside the object on one side: the other sees it
    share = min(first, last) if covers(scan.angles, 2 * math.pi) else max(first, last)
    if share <= _CUT_OFF:
        return []
    text = (
        f"truncation: {share:.0%} of the views do not fall to zero at the detector's edges; the "
        "object reaches beyond the detector, or empty rays do not read zero; values are wrong "
        "near the rim of the field of view (extend the views, and use a larger image)"
    )
    return [Finding(name="truncation", text=text, size=share)]


def _outside(
    y: Float64[Tensor, "views detectors"],
    noise: Float64[Tensor, "views detectors"],
    scan: Scan,
    grid: ImageGrid,
) -> list[Finding]:
    misses = (scan.rays.distance.abs() > grid.radius) & noise.isfinite()
    if not bool(misses.any()):
        return []
    # the mean of a view's two or three rays may be mostly noise
    noise_of_sum = torch.where(misses, noise, 0.0).square().sum(1).sqrt()
    limit = _OUTSIDE * large_value(y) * misses.sum(1)
    share = float(((y * misses).sum(1) > limit.maximum(_SURE * noise_of_sum)).double().mean())
    if share <= _CUT_OFF:
        return []
    text = (
        f"truncation: in {share:.0%} of the views, rays that miss the image pass through "
        "something; use a larger image"
    )
    return [Finding(name="truncation", text=text, size=share)]


def _rings(y: Float64[Tensor, "views detectors"], measured: Tensor, scan: Scan) -> list[Finding]:
    order = torch.tensor(scan.angles, dtype=torch.float64).remainder(2 * math.pi).argsort()
    bins = striped_bins(y[order], measured[order], scan.center)
    count = int(bins.sum())
    if not count:
        return []
    bins_differ, whose = (
        ("1 detector bin differs", "its")
        if count == 1
        else (f"{count} detector bins differ", "their")
    )
    shown = ", ".join(str(k) for k in bins.nonzero()[:5, 0].tolist())
    text = (
        f"rings: {bins_differ} from {whose} neighbours in the same way in most views "
        f"({shown}{' …' if count > 5 else ''}); remove the stripes (--remove-stripes, "
        "ct.remove_stripes)"
    )
    return [Finding(name="rings", text=text, size=float(count))]


def _corner_fit(y: Float64[Tensor, "views detectors"], scan: Scan) -> CornerFit | None:
    if not isinstance(scan, ParallelBeam) or not covers(scan.angles, math.pi):
        return None
    if float(y.max()) <= 0:
        return None
    return fit_empty_corner(y, scan, radius=support_radius(y[None], scan.center))


def _shift(
    y: Float64[Tensor, "views detectors"], measured: Tensor, scan: Scan, fit: CornerFit | None
) -> tuple[float, float] | None:
    """Return how far the best centre lies from the scan's, and its error; None if not known."""
    enough = _ENOUGH_OPPOSITE_FAN if isinstance(scan, FanBeam) else _ENOUGH_OPPOSITE
    if share_of_opposite_views(scan) > enough:
        if float(measured.double().mean()) < _ENOUGH_MEASURED:
            return None
        found = center_from_opposite_rays(y[None], measured[None], scan, around=scan.center)
        return found.center - scan.center, found.error
    return None if fit is None else (fit.shift, fit.shift_error)


def _wrong_center(shift: float, error: float) -> list[Finding]:
    if abs(shift) <= max(_LEAST_SHIFT, _SURE * error):
        return []
    text = (
        f"centre of rotation: the measurements fit a centre about {abs(shift):.2f} ± {error:.2f} "
        f"bins {'higher' if shift > 0 else 'lower'} better; find it anew"
    )
    return [Finding(name="centre of rotation", text=text, size=shift)]


def _hardening(fit: CornerFit, largest: float) -> list[Finding]:
    effect = fit.hardening * largest
    if effect <= _LEAST_HARDENING or fit.hardening <= _SURE * fit.hardening_error:
        return []
    text = (
        f"beam hardening (or scatter): line integrals are lowered by about {min(effect, 1):.0%} "
        f"where they are largest; correct them (y + βy², β = {fit.hardening:.2g} ± "
        f"{fit.hardening_error:.1g})"
    )
    return [Finding(name="beam hardening", text=text, size=fit.hardening)]
