"""Where the pixels and the rays are: pure data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.checks import check_count, check_positive
from ct.rays import Rays, bin_positions, finite_number, set_views_and_bins, view_axes


@dataclass(frozen=True, init=False)
class ImageGrid:
    """Square pixels around the origin: row 0 at the top, x to the right, y up.

    Attributes:
        shape: numbers of rows and columns.
        pixel_size: side of a pixel in mm.
        slice_spacing: distance between the centres of two slices of a stack in mm; None becomes
            the pixel size.

    Raises:
        ValueError: the shape is not two whole numbers above zero, or a size not above zero.

    Example:
        >>> grid = ImageGrid(shape=(2, 3), pixel_size=0.5)
        >>> grid.x_positions.tolist(), grid.y_positions.tolist()
        ([-0.5, 0.0, 0.5], [0.25, -0.25])
    """

    shape: tuple[int, int]
    pixel_size: float
    slice_spacing: float

    def __init__(
        self, shape: Sequence[int], pixel_size: float = 1.0, slice_spacing: float | None = None
    ) -> None:
        try:
            rows, columns = shape
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"shape: expected two whole numbers (rows, columns), got {shape!r:.40}."
            ) from error
        checked = (check_count(rows, "shape: rows"), check_count(columns, "shape: columns"))
        object.__setattr__(self, "shape", checked)
        size = check_positive(pixel_size, "pixel_size")
        spacing = size if slice_spacing is None else check_positive(slice_spacing, "slice_spacing")
        object.__setattr__(self, "pixel_size", size)
        object.__setattr__(self, "slice_spacing", spacing)

    @property
    def radius(self) -> float:
        """Distance from the origin to the image's corners in mm."""
        return math.hypot(*self.shape) * self.pixel_size / 2

    @property
    def x_positions(self) -> Float64[Tensor, " columns"]:
        """The x of each column's pixel centres in mm, growing with the index."""
        return _centred(self.shape[1]) * self.pixel_size

    @property
    def y_positions(self) -> Float64[Tensor, " rows"]:
        """The y of each row's pixel centres in mm, falling with the index: row 0 is the top."""
        return _centred(self.shape[0]).flip(0) * self.pixel_size


@dataclass(frozen=True, init=False)
class ParallelBeam:
    """Parallel rays: bin k of the view at angle θ sees the line x cos θ + y sin θ = s_k.

    s_k = (k − center) · detector_spacing, and angles are counter-clockwise; the same as
    `skimage.transform.radon` (which takes degrees) and ASTRA's `parallel` geometry.

    Attributes:
        angles: one a view, in radians, in any order; any sequence or array, kept as a tuple.
        n_detectors: detector bins in a view.
        detector_spacing: distance between the centres of two bins in mm.
        center: the detector index, whole or not, that the origin projects to;
            None becomes (n_detectors − 1)/2.

    Raises:
        ValueError: no angles, angles that are not finite or are degrees, no bins, a spacing not
            above zero, a centre that is not finite.

    Example:
        >>> scan = ParallelBeam(angles=[0.0, 1.5], n_detectors=4, detector_spacing=2.0)
        >>> scan.n_views, scan.center, scan.detector_positions.tolist()
        (2, 1.5, [-3.0, -1.0, 1.0, 3.0])
    """

    angles: tuple[float, ...]
    n_detectors: int
    detector_spacing: float
    center: float

    def __init__(
        self,
        angles: Sequence[float] | NDArray[Any] | Tensor,
        n_detectors: int,
        detector_spacing: float = 1.0,
        center: float | None = None,
    ) -> None:
        set_views_and_bins(self, angles, n_detectors, detector_spacing, center)

    @property
    def n_views(self) -> int:
        """How many angles there are."""
        return len(self.angles)

    @property
    def detector_positions(self) -> Float64[Tensor, " detectors"]:
        """The coordinate s of each bin's centre in mm."""
        return bin_positions(self.n_detectors, self.detector_spacing, self.center)

    @property
    def rays(self) -> Rays:
        """Where each ray runs: through s_k (cos θ, sin θ), along (−sin θ, cos θ)."""
        across, along = view_axes(self.angles)
        point = self.detector_positions[None, :, None] * across[:, None, :]
        return Rays(point=point, direction=along[:, None, :].expand_as(point))


@dataclass(frozen=True, init=False)
class FanBeam:
    """Rays from one source to a row of bins, flat or curved; ASTRA's `fanflat` where it is flat.

    In the view at angle θ, with u = (cos θ, sin θ) and v = (−sin θ, cos θ), the source stands at
    source_offset·u − source_origin·v. The perpendicular from it onto the detector runs along v and
    meets the detector, source_detector away, at index `center`. With t_k = (k − center) ·
    detector_spacing, the ray to bin k runs along v + (t_k/source_detector) u to a flat detector,
    and along v cos γ_k + u sin γ_k, γ_k = t_k/source_detector, to one curved around the source.

    Attributes:
        angles: one a view, in radians, counter-clockwise; any sequence, kept as a tuple.
        n_detectors: detector bins in a view.
        source_origin: distance from the source to the axis of rotation in mm.
        source_detector: distance from the source to the detector in mm.
        detector_spacing: distance between the centres of two bins in mm, along the detector (along
            its arc where it is curved).
        center: detector index, whole or not, at the foot of the source's perpendicular; None
            becomes (n_detectors − 1)/2.
        source_offset: how far source and detector stand to the side, along u, in mm: the distance
            by which the perpendicular misses the axis of rotation.
        curved: whether the detector is an arc around the source.

    Raises:
        ValueError: angles, bins or spacings that `ParallelBeam` refuses, distances not above zero,
            a detector nearer than the axis, an arc of half a turn or more, an offset not finite.

    Example:
        >>> scan = FanBeam(
        ...     [0.0, 1.5], n_detectors=3, source_origin=50.0, source_detector=100.0
        ... )
        >>> scan.magnification, scan.center, scan.detector_positions.tolist()
        (2.0, 1.0, [-1.0, 0.0, 1.0])
    """

    angles: tuple[float, ...]
    n_detectors: int
    source_origin: float
    source_detector: float
    detector_spacing: float
    center: float
    source_offset: float
    curved: bool

    def __init__(
        self,
        angles: Sequence[float] | NDArray[Any] | Tensor,
        n_detectors: int,
        source_origin: float,
        source_detector: float,
        detector_spacing: float = 1.0,
        center: float | None = None,
        source_offset: float = 0.0,
        curved: bool = False,
    ) -> None:
        near = check_positive(source_origin, "source_origin")
        far = check_positive(source_detector, "source_detector")
        if far < near:
            raise ValueError(
                f"source_detector: expected at least source_origin ({near:g} mm), got {far:g} mm; "
                "give the distance from the source to the detector, not from the axis."
            )
        object.__setattr__(self, "source_origin", near)
        object.__setattr__(self, "source_detector", far)
        set_views_and_bins(self, angles, n_detectors, detector_spacing, center)
        object.__setattr__(self, "source_offset", finite_number(source_offset, "source_offset"))
        if not isinstance(curved, bool):
            raise ValueError(f"curved: expected True or False, got {curved!r:.40}.")
        object.__setattr__(self, "curved", curved)
        widest = float(self.detector_positions.abs().max()) / far
        if curved and widest >= math.pi / 2:
            raise ValueError(
                f"curved: expected rays within a quarter turn of the perpendicular, got "
                f"{math.degrees(widest):g}°; check detector_spacing and source_detector."
            )

    @property
    def n_views(self) -> int:
        """How many angles there are."""
        return len(self.angles)

    @property
    def magnification(self) -> float:
        """How much larger the shadow of an object at the axis is than the object."""
        return self.source_detector / self.source_origin

    @property
    def detector_positions(self) -> Float64[Tensor, " detectors"]:
        """The coordinate t of each bin's centre in mm, along the detector."""
        return bin_positions(self.n_detectors, self.detector_spacing, self.center)

    @property
    def rays(self) -> Rays:
        """Where each ray runs: through the source, to its bin."""
        across, along = (axis[:, None, :] for axis in view_axes(self.angles))
        source = self.source_offset * across - self.source_origin * along
        ratio = self.detector_positions[None, :, None] / self.source_detector
        gamma = ratio if self.curved else ratio.atan()
        direction = along * gamma.cos() + across * gamma.sin()
        return Rays(point=source.expand_as(direction), direction=direction)


Scan: TypeAlias = ParallelBeam | FanBeam
"""Any scan geometry: pure data with angles, n_views, n_detectors, detector_spacing, center, rays.

One more kind is one more dataclass here and one more entry in `ct.geometry_json`.
"""


def field_of_view(scan: Scan) -> float:
    """Return the radius in mm of the circle around the origin that every view sees whole.

    Args:
        scan: where the rays are.

    Returns:
        The radius, to the middle of the outermost bin on the nearer side; 0 where the origin's
        shadow falls beside the detector.

    Example:
        >>> field_of_view(ParallelBeam((0.0,), n_detectors=5, center=1.0))
        1.0
    """
    distance = scan.rays.distance
    first, last = distance[:, 0], distance[:, -1]
    return max(0.0, float(torch.minimum(-first, last).min()))


def with_angles(scan: Scan, angles: Sequence[float]) -> Scan:
    """Return the same scan with other views.

    Args:
        scan: where the rays are.
        angles: one a view, in radians.

    Returns:
        A scan of the same kind.

    Example:
        >>> with_angles(ParallelBeam((0.0, 1.0), 3), [0.5]).angles
        (0.5,)
    """
    return type(scan)(**{**vars(scan), "angles": angles})


def check_fits(grid: ImageGrid, scan: Scan) -> None:
    """Refuse an image that a fan beam's source would stand in.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Raises:
        ValueError: the source is no farther from the axis than the image's corners.
    """
    if isinstance(scan, FanBeam):
        distance = math.hypot(scan.source_origin, scan.source_offset)
        if distance <= grid.radius:
            raise ValueError(
                f"grid: expected corners nearer to the axis than the source ({distance:g} mm), got "
                f"{grid.radius:g} mm; check pixel_size and source_origin, both in mm."
            )


def _centred(n: int) -> Float64[Tensor, " n"]:
    return torch.arange(n, dtype=torch.float64) - (n - 1) / 2
