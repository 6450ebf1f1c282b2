"""Which scans an image can be made from: numbers that no scanner has are refused before work."""

from __future__ import annotations

import os
from typing import Any

import torch

from bayesnn.checks import check_count, check_positive
from ct.geometry import FanBeam, ImageGrid, Scan, check_fits, with_angles

_SHORTEST, _LONGEST = 1e-7, 1e7  # mm: an atom, ten kilometres
_MOST_PIXELS = 2**31 - 1  # what 32 bits can number
_MOST_VIEWS = 10**5
_LEAST_COPIES = 2  # what is there and what becomes of it; no method takes less
_RATIO = 1000.0  # between bins and pixels: beyond it a detector sees a pixel, or an image one bin


def check_length(value: Any, name: str) -> float:
    """Return a length in mm that something in a scanner may have.

    Args:
        value: what came.
        name: what the user calls it; the error begins with it.

    Returns:
        The length.

    Raises:
        ValueError: no finite number above 0, or one beyond 1e-7 to 1e7 mm.

    Example:
        >>> check_length(1, "pixel_size")
        1.0
    """
    length = check_positive(value, name)
    if not _SHORTEST <= length <= _LONGEST:
        raise ValueError(
            f"{name}: expected a length between {_SHORTEST:g} and {_LONGEST:g} mm, got "
            f"{length:g} mm; give it in mm."
        )
    return length


def check_views(value: Any, name: str) -> int:
    """Return how many views there are, if a scan may have so many.

    Args:
        value: what came.
        name: what the user calls it; the error begins with it.

    Returns:
        The number.

    Raises:
        ValueError: no whole number from 1 to a hundred thousand.
    """
    views = check_count(value, name)
    if views > _MOST_VIEWS:
        raise ValueError(f"{name}: expected at most {_MOST_VIEWS} views, got {views}; give fewer.")
    return views


def check_memory(
    grid: ImageGrid, scan: Scan, device: torch.device, *, name: str = "image_size"
) -> None:
    """Refuse an image that this machine's memory cannot hold while it is made.

    Args:
        grid: where the pixels shall be.
        scan: where the rays are.
        device: where the work is done.
        name: what the user calls what makes it large; the error begins with it.

    Raises:
        ValueError: one slice takes more than all memory that there is.
    """
    rows, columns = grid.shape
    needed = 4 * _LEAST_COPIES * (rows * columns + scan.n_views * scan.n_detectors)
    memory = _memory_of(device)
    if memory is not None and needed > memory:
        raise ValueError(
            f"{name}: expected an image that fits the memory ({memory / 1e9:.3g} GB on "
            f"{device}), got {rows} × {columns} pixels from {scan.n_views} × {scan.n_detectors} "
            f"rays, which take {needed / 1e9:.3g} GB at least; give less of them."
        )


def _memory_of(device: torch.device) -> int | None:
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return None  # a cluster's, of which nothing is known here
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # systems that do not say
        return None


def check_possible(grid: ImageGrid, scan: Scan) -> None:
    """Refuse a scan that no image can be made from, however large the machine is.

    Projectors take any rays; this is for those who would reconstruct. The axis may lie beside the
    detector, as far as the detector is wide.

    Args:
        grid: where the pixels shall be.
        scan: where the rays are.

    Raises:
        ValueError: lengths that are none of a scanner, a centre far from all bins, bins a thousand
            times wider or narrower than pixels, too many pixels, a source in the image, or no ray
            that meets it.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> check_possible(ImageGrid((8, 8)), ParallelBeam([0.0, 1.0], n_detectors=12))
    """
    check_length(grid.pixel_size, "pixel_size")
    for name in ("detector_spacing", "source_origin", "source_detector"):
        if hasattr(scan, name):
            check_length(getattr(scan, name), name)
    n = scan.n_detectors
    if not -n <= scan.center <= 2 * n - 1:
        raise ValueError(
            f"center: expected a detector index near the bins, which are 0 to {n - 1}, got "
            f"{scan.center:g}; count it in bins, not in mm, or leave it out for the middle "
            f"({(n - 1) / 2:g})."
        )
    rows, columns = grid.shape
    if rows * columns > _MOST_PIXELS:
        raise ValueError(
            f"image_size: expected at most {_MOST_PIXELS} pixels, got {rows} × {columns}; give "
            "fewer, or larger ones."
        )
    _check_bins(grid, scan)
    check_fits(grid, scan)
    # a view's rays pass the axis at the same distances as any other's
    nearest = float(with_angles(scan, scan.angles[:1]).rays.distance.abs().min())
    if nearest > grid.radius:
        raise ValueError(
            f"scan: expected rays through the image, got none: its corners lie {grid.radius:g} mm "
            f"from the axis, and the nearest ray {nearest:g} mm; check center, detector_spacing "
            "and pixel_size."
        )


def _check_bins(grid: ImageGrid, scan: Scan) -> None:
    magnification = scan.magnification if isinstance(scan, FanBeam) else 1.0
    shadow = scan.detector_spacing / magnification
    if not 1 / _RATIO <= shadow / grid.pixel_size <= _RATIO:
        raise ValueError(
            f"detector_spacing: expected bins that cover 1/{_RATIO:g} to {_RATIO:g} pixels at the "
            f"axis, got {shadow:g} mm for pixels of {grid.pixel_size:g} mm; check it and "
            "pixel_size, both in mm."
        )
