"""What every scan geometry has: views, bins, and the lines between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count, check_positive

_LARGEST_ANGLE = 4 * math.pi  # two turns; whoever writes degrees passes it at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Rays:
    """Straight lines in the plane, one a bin of every view.

    Attributes:
        point: a point of each ray in mm, (x, y).
        direction: unit vector along each ray, from the source to the detector.
    """

    point: Float64[Tensor, "views detectors 2"]
    direction: Float64[Tensor, "views detectors 2"]

    @property
    def distance(self) -> Float64[Tensor, "views detectors"]:
        """How far the origin lies to the left of each ray, in mm: a parallel beam's s.

        A ray that runs up (+y) at x = s has the origin on its left at distance s.
        """
        x, y = self.point.unbind(-1)
        along_x, along_y = self.direction.unbind(-1)
        return x * along_y - y * along_x


def set_views_and_bins(
    scan: object,
    angles: Sequence[float] | NDArray[Any] | Tensor,
    n_detectors: int,
    detector_spacing: float,
    center: float | None,
) -> None:
    """Check and set what every kind of scan has, as its constructor was given it.

    Args:
        scan: the frozen dataclass under construction.
        angles: one a view, in radians.
        n_detectors: bins in a view.
        detector_spacing: distance between two bins in mm.
        center: detector index on the axis; None for the middle.

    Raises:
        ValueError: no angles, angles that are not finite or are degrees, no bins, a spacing not
            above zero, a centre that is not finite.
    """
    radians = as_finite_tensor(angles, "angles", ndim=(1,), dtype=torch.float64)
    largest = float(radians.abs().max())
    if largest > _LARGEST_ANGLE:
        raise ValueError(
            f"angles: expected radians within ±4π, got {largest:g}; convert degrees with "
            "numpy.deg2rad, and reduce angles of several turns modulo 2π."
        )
    n_bins = check_count(n_detectors, "n_detectors")
    middle = (n_bins - 1) / 2 if center is None else finite_number(center, "center")
    spacing = check_positive(detector_spacing, "detector_spacing")
    # tuples and plain numbers, so that scans are hashable and their repr is code
    object.__setattr__(scan, "angles", tuple(radians.tolist()))
    object.__setattr__(scan, "n_detectors", n_bins)
    object.__setattr__(scan, "detector_spacing", spacing)
    object.__setattr__(scan, "center", middle)


def bin_positions(n: int, spacing: float, center: float) -> Float64[Tensor, " detectors"]:
    """Return (k − center) · spacing for each bin k, in mm."""
    return (torch.arange(n, dtype=torch.float64) - center) * spacing


def view_axes(
    angles: Sequence[float],
) -> tuple[Float64[Tensor, "views 2"], Float64[Tensor, "views 2"]]:
    """Return the unit vectors across and along the rays of each view."""
    theta = torch.tensor(angles, dtype=torch.float64)
    cos, sin = theta.cos(), theta.sin()
    return torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)


def finite_number(value: Any, name: str) -> float:
    """Return a value as a number; ValueError where it is none, or infinite."""
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r:.40}.")
    return number
