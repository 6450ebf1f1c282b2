"""Sums of ellipses: images with sharp edges whose line integrals are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.checks import check_count
from ct.data.simulated_scans import bin_means, with_divided_bins
from ct.geometry import FanBeam, ImageGrid, Scan


@dataclass(frozen=True, kw_only=True)
class Ellipse:
    """A filled ellipse of one value.

    Attributes:
        value: what it adds to the image inside.
        half_width: semi-axis in mm that lies along x before the tilt.
        half_height: semi-axis in mm that lies along y before the tilt.
        x: of its centre in mm.
        y: of its centre in mm.
        tilt: angle in radians by which it is turned counter-clockwise about its centre.

    Raises:
        ValueError: a semi-axis is not above zero, or a number is not finite.
    """

    value: float = 1.0
    half_width: float
    half_height: float
    x: float = 0.0
    y: float = 0.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if not math.isfinite(number):
                raise ValueError(f"Ellipse: {name}: expected a finite number, got {number!r}.")
        if min(self.half_width, self.half_height) <= 0:
            raise ValueError(
                "Ellipse: expected semi-axes above 0 mm, got "
                f"{self.half_width:g} and {self.half_height:g}."
            )

    @property
    def extent(self) -> float:
        """No point of it is farther from the origin, in mm."""
        return math.hypot(self.x, self.y) + max(self.half_width, self.half_height)


@dataclass(frozen=True)
class EllipsePhantom:
    """The sum of ellipses: what a scanner could see, free of any pixels.

    Attributes:
        ellipses: any number, which may overlap.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> disc = EllipsePhantom((Ellipse(half_width=1.0, half_height=1.0),))
        >>> disc.sinogram(ParallelBeam((0.0,), n_detectors=3, detector_spacing=0.6))
        tensor([[1.6000, 2.0000, 1.6000]], dtype=torch.float64)
    """

    ellipses: tuple[Ellipse, ...]

    def scaled(self, factor: float) -> EllipsePhantom:
        """Return the same shapes with all values times `factor`, such as 0.02/mm."""
        return EllipsePhantom(
            tuple(replace(ellipse, value=factor * ellipse.value) for ellipse in self.ellipses)
        )

    def sinogram(
        self, scan: Scan, *, samples_per_bin: int = 1
    ) -> Float64[Tensor, "views detectors"]:
        """Return exact line integrals: an ellipse's value times the length of the ray in it.

        In the frame in which the ellipse is the unit circle, a ray through q along e (both
        turned and scaled with it) has the chord 2 √(|e|² − (q × e)²)/|e|² in mm.

        Args:
            scan: where the rays are.
            samples_per_bin: rays spread evenly over the width of each bin, whose mean is taken:
                with 1, a bin sees a line; with more, what a detector without gaps sees.

        Returns:
            Value times mm.

        Raises:
            ValueError: a fan beam's source stands among the ellipses, or `samples_per_bin` is not
                a whole number above zero.
        """
        self._check_outside_source(scan)
        rays = with_divided_bins(scan, samples_per_bin).rays
        (x, y), (right, up) = rays.point.unbind(-1), rays.direction.unbind(-1)
        total = torch.zeros_like(x)
        for ellipse in self.ellipses:
            cos, sin = math.cos(ellipse.tilt), math.sin(ellipse.tilt)
            a, b = ellipse.half_width, ellipse.half_height
            beside, above = x - ellipse.x, y - ellipse.y
            q_a, q_b = (beside * cos + above * sin) / a, (above * cos - beside * sin) / b
            e_a, e_b = (right * cos + up * sin) / a, (up * cos - right * sin) / b
            square = e_a**2 + e_b**2
            inside = (square - (q_a * e_b - q_b * e_a) ** 2).clamp(min=0)
            total += 2 * ellipse.value * inside.sqrt() / square
        return bin_means(total, samples_per_bin)

    def image(
        self, grid: ImageGrid, *, lines_per_pixel: int = 16
    ) -> Float64[Tensor, "rows columns"]:
        """Return the mean of the phantom over every pixel.

        Each row of pixels is cut by `lines_per_pixel` lines; the share of a line that lies in an
        ellipse is exact. A pixel at an ellipse's edge is off by the ellipse's value/lines_per_pixel
        at most, and usually by far less.

        Args:
            grid: where the pixels are.
            lines_per_pixel: lines through every row.

        Returns:
            The image.

        Raises:
            ValueError: `lines_per_pixel` is not a whole number above zero.
        """
        lines = check_count(lines_per_pixel, "lines_per_pixel")
        size = grid.pixel_size
        within = ((torch.arange(lines, dtype=torch.float64) + 0.5) / lines - 0.5) * size
        y = (grid.y_positions[:, None] - within).flatten()
        edges = torch.cat([grid.x_positions - size / 2, grid.x_positions[-1:] + size / 2])
        total = torch.zeros(grid.shape, dtype=torch.float64)
        for ellipse in self.ellipses:
            middle, half = _crossed(ellipse, y)
            touched = half.reshape(-1, lines).amax(dim=1).gt(0).nonzero().squeeze(1)
            if not len(touched):
                continue
            rows = slice(int(touched[0]), int(touched[-1]) + 1)
            points = slice(rows.start * lines, rows.stop * lines)
            left = (middle - half)[points, None]
            covered = (edges - left).clamp(min=0).minimum(2 * half[points, None])
            share = covered.diff(dim=1).reshape(-1, lines, grid.shape[1]).mean(dim=1) / size
            total[rows] += ellipse.value * share
        return total

    def _check_outside_source(self, scan: Scan) -> None:
        if not isinstance(scan, FanBeam) or not self.ellipses:
            return
        distance = math.hypot(scan.source_origin, scan.source_offset)
        extent = max(ellipse.extent for ellipse in self.ellipses)
        if extent >= distance:
            raise ValueError(
                f"scan: expected a source outside the phantom, got one {distance:g} mm from the "
                f"axis and ellipses up to {extent:g} mm; check source_origin, in mm."
            )


def disc(radius: float, *, x: float = 0.0, y: float = 0.0, value: float = 1.0) -> Ellipse:
    """Return a filled circle.

    Args:
        radius: in mm.
        x: of its centre in mm.
        y: of its centre in mm.
        value: inside.

    Returns:
        The ellipse that it is.
    """
    return Ellipse(value=value, half_width=radius, half_height=radius, x=x, y=y)


def _crossed(
    ellipse: Ellipse, y: Float64[Tensor, " lines"]
) -> tuple[Float64[Tensor, " lines"], Float64[Tensor, " lines"]]:
    """Return the middle and half the length of what the ellipse covers of horizontal lines."""
    cos, sin = math.cos(ellipse.tilt), math.sin(ellipse.tilt)
    a, b = ellipse.half_width, ellipse.half_height
    # the ellipse reaches `reach` above its centre; at height h it spans k·h ± half
    reach_square = (a * sin) ** 2 + (b * cos) ** 2
    height = y - ellipse.y
    half = a * b * (reach_square - height**2).clamp(min=0).sqrt() / reach_square
    return ellipse.x + height * (a**2 - b**2) * sin * cos / reach_square, half
