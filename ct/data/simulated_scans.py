"""The scans that simulations use: they see all of the image."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.possible_scan import check_views

_SOURCE_ORIGIN, _SOURCE_DETECTOR = 2.0, 1.5


def parallel_scan(grid: ImageGrid, *, views: int, arc: float = math.pi) -> ParallelBeam:
    """Return the parallel-beam scan that simulations use: it sees all of the image.

    θ_k = k·arc/views, and ceil(√2·N) + 1 detector bins, N the longer side, as wide as a pixel.

    Args:
        grid: the image's grid.
        views: number of angles.
        arc: the range of the angles in radians, its end left out; half a turn by default.

    Returns:
        The scan.

    Raises:
        ValueError: `views` is not a whole number above zero, or `arc` not above 0 and at most 2π.

    Example:
        >>> parallel_scan(ImageGrid((512, 512)), views=60).n_detectors
        726
    """
    return ParallelBeam(_angles(views, arc), _n_detectors(grid), grid.pixel_size)


def fan_scan(
    grid: ImageGrid,
    *,
    views: int,
    arc: float = 2 * math.pi,
    source_origin: float | None = None,
    source_detector: float | None = None,
) -> FanBeam:
    """Return the fan-beam scan, with a flat detector, that simulations use.

    θ_k = k·arc/views, and ceil(√2·N) + 1 detector bins, N the longer side. The bins are as wide as
    it takes for every view to see the image's corners: the outermost rays touch the circle
    through them.

    Args:
        grid: the image's grid.
        views: number of angles.
        arc: the range of the angles in radians, its end left out; a whole turn by default.
        source_origin: distance from the source to the axis in mm; None becomes twice the longer
            side of the image.
        source_detector: distance from the source to the detector in mm; None becomes one and a
            half times `source_origin`.

    Returns:
        The scan.

    Raises:
        ValueError: `views` or `arc` that `parallel_scan` refuses, or distances at which the image
            would reach the source or the axis lie behind the detector.

    Example:
        >>> scan = fan_scan(ImageGrid((512, 512)), views=60)
        >>> scan.n_detectors, scan.source_origin, round(scan.detector_spacing, 3)
        (726, 1024.0, 1.602)
    """
    side = max(grid.shape) * grid.pixel_size
    given = _SOURCE_ORIGIN * side if source_origin is None else source_origin
    near = check_positive(given, "source_origin")
    far = _SOURCE_DETECTOR * near if source_detector is None else source_detector
    radius = grid.radius
    if near <= radius:
        raise ValueError(
            f"source_origin: expected more than the distance of the image's corners from the axis "
            f"({radius:g} mm), got {near:g} mm."
        )
    n = _n_detectors(grid)
    half_width = check_positive(far, "source_detector") * radius / math.sqrt(near**2 - radius**2)
    # a millionth more, or rounding would leave the corners just outside
    spacing = 2 * half_width / (n - 1) * (1 + 1e-6)
    return FanBeam(_angles(views, arc), n, near, far, spacing)


def with_divided_bins(scan: Scan, samples: int) -> Scan:
    """Return the scan with each bin divided into `samples` of equal width.

    Args:
        scan: where the rays are.
        samples: parts of a bin.

    Returns:
        A scan with `samples` times as many bins; `bin_means` puts its sinograms together again.

    Raises:
        ValueError: `samples` is not a whole number above zero.

    Example:
        >>> with_divided_bins(ParallelBeam((0.0,), 2), 2).detector_positions.tolist()
        [-0.75, -0.25, 0.25, 0.75]
    """
    samples = check_count(samples, "samples_per_bin")
    center = samples * scan.center + (samples - 1) / 2
    finer = dict(vars(scan), center=center, n_detectors=samples * scan.n_detectors)
    finer["detector_spacing"] = scan.detector_spacing / samples
    return type(scan)(**finer)


def bin_means(
    sinogram: Float[Tensor, "views parts"], samples: int
) -> Float[Tensor, "views detectors"]:
    """Return the mean of every `samples` neighbours along the detector."""
    return sinogram if samples == 1 else sinogram.reshape(len(sinogram), -1, samples).mean(dim=-1)


def _n_detectors(grid: ImageGrid) -> int:
    return math.ceil(math.sqrt(2) * max(grid.shape)) + 1


def _angles(views: int, arc: float) -> tuple[float, ...]:
    views = check_views(views, "views")
    if not 0 < arc <= 2 * math.pi * (1 + 1e-12):
        raise ValueError(
            f"arc: expected more than 0° and at most 360°, got {math.degrees(arc):g}°."
        )
    return tuple(k * arc / views for k in range(views))
