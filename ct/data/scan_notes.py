"""What looks odd about a scan, in words: said by `info`, and no reason to refuse it."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

from ct.data.scan_input import ScanInput
from ct.geometry import FanBeam, Scan, field_of_view

_SMALL_ARC = 0.2
_GAP_STEPS = 5.0
_BRIGHT = 99.0
_EDGE = 0.04


def scan_notes(scan: ScanInput) -> list[str]:
    """Say what a user should look at twice.

    Args:
        scan: the opened scan.

    Returns:
        One sentence for each doubt: angles that leave a gap, a centre outside the detector, counts
        that nothing turns into line integrals or that outshine their i0, values that look like
        transmission, broken bins, and what the file itself leaves open.
    """
    notes = list(scan.file.notes)
    if scan.scan is None:
        notes.append("no angles: give --angles, such as --angles 0:180:N --degrees")
    else:
        notes += _about_rays(scan.scan)
    if scan.values == "counts":
        notes += _about_counts(scan)
    elif scan.values_from == "recognised" and looks_like_transmission(_middle_slice(scan)):
        notes.append(
            "the values look like transmission (1 beside the object, less behind it): if they are, "
            "say --counts --i0 1"
        )
    return notes


def looks_like_transmission(values: Float32[np.ndarray, "views detectors"]) -> bool:
    """Return whether values are near 1 at both ends of the detector and lower in between.

    Line integrals are the other way round: near 0 beside the object.

    Args:
        values: of one slice.

    Example:
        >>> looks_like_transmission(np.exp(-np.array([[0, 1, 2, 1, 0]], dtype=np.float32)))
        True
    """
    width = max(1, round(_EDGE * values.shape[1]))
    ends = np.median(values[:, :width]), np.median(values[:, -width:])
    middle = np.median(values[:, values.shape[1] // 2 - width : values.shape[1] // 2 + width])
    inside = float(values.min()) > -0.1 and float(values.max()) < 2
    return bool(inside and all(0.8 < end < 1.2 and middle < 0.8 * end for end in ends))


def angular_coverage(scan: Scan) -> tuple[float, float]:
    """Return the arc that a scan's views cover, and the arc that it needs, both in degrees.

    A parallel beam needs half a turn, whose views seen from behind count too; a fan beam needs half
    a turn and its own opening. Between two views, a gap counts as covered unless it is five times
    as wide as the usual step.

    Args:
        scan: where the rays are.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> angular_coverage(ParallelBeam(np.deg2rad(np.arange(90)), 5))
        (89.0, 180.0)
    """
    fan = isinstance(scan, FanBeam)
    turn = 360.0 if fan else 180.0
    needed = 180.0 + _opening(scan) if isinstance(scan, FanBeam) else 180.0
    angles = np.unique(np.round(np.rad2deg(scan.angles) % turn, 9) % turn)
    gaps = np.diff(np.append(angles, angles[0] + turn))
    step = float(np.median(gaps))
    if len(angles) == 1:
        return 0.0, needed
    wide = gaps > _GAP_STEPS * step
    covered = turn - float(gaps[wide].sum())
    return round(min(covered, turn), 6), round(needed, 6)


def _about_rays(scan: Scan) -> list[str]:
    notes = []
    covered, needed = angular_coverage(scan)
    if scan.n_views == 1:
        notes.append("one view alone: no image can be made from it")
    elif covered < needed * (1 - 1.5 / scan.n_views):
        notes.append(
            f"the views cover {covered:.4g}° of the {needed:.4g}° that a whole image needs: a "
            "limited angle"
        )
    arc = float(np.ptp(scan.angles))
    if scan.n_views >= 10 and arc < _SMALL_ARC:
        notes.append(
            f"the views span only {math.degrees(arc):.3g}°: if the angles are radians, leave "
            "--degrees out"
        )
    if not 0 <= scan.center <= scan.n_detectors - 1:
        notes.append(f"the centre of rotation ({scan.center:g}) lies beside the detector")
    elif field_of_view(scan) == 0:
        notes.append("no point is seen by every view; check the centre")
    return notes


def _about_counts(scan: ScanInput) -> list[str]:
    if scan.calibration is None:
        brightest = float(np.percentile(_middle_slice(scan), _BRIGHT))
        return [
            f"counts without flats: give --flats, or --i0 (the brightest rays read {brightest:.5g})"
        ]
    notes = []
    i0 = scan.calibration.i0
    if i0 is not None and scan.summary.maximum > 1.5 * i0:
        notes.append(
            f"readings reach {scan.summary.maximum:g}, far above i0 = {i0:g}: their line integrals "
            "are negative"
        )
    faults = scan.calibration.faults()
    if faults:
        named = ", ".join(f"{count} {name}" for name, count in faults.items())
        notes.append(f"broken detector bins, taken for missing in all views: {named}")
    if scan.calibration.gain is None:
        notes.append("the noise of the counts cannot be estimated; give --gain or --noise-std")
    return notes


def _middle_slice(scan: ScanInput) -> Float32[np.ndarray, "views detectors"]:
    return scan.file.read(scan.file.shape[0] // 2)


def _opening(scan: FanBeam) -> float:
    ends = scan.rays.direction[0, [0, -1]]
    return math.degrees(math.acos(float((ends[0] * ends[1]).sum().clamp(-1, 1))))
