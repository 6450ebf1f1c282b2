"""Filtered back-projection for parallel beams and fans: the baseline that everybody knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.classical.pixel_backprojection import backproject
from ct.classical.ramp_filter import ramp_filtered
from ct.classical.ray_weights import evened, ray_weights
from ct.classical.windows import Window, hann, window_name
from ct.geometry import FanBeam, ImageGrid, Scan
from ct.possible_scan import check_possible
from ct.problem import Estimate, Problem, Progress, Setting

_IMAGES_AT_ONCE = 64  # more are no faster, and each takes a few times its sinogram


def fbp(*, window: Window = hann) -> FilteredBackprojection:
    """Make the reconstruction method that is `filtered_backprojection`.

    Args:
        window: factor on the ramp filter: `hann`, `ramp` or others of `ct.classical.windows`, or
            any function like them.

    Returns:
        A method for `ct.reconstruct`; it gives no uncertainty.

    Example:
        >>> from ct.classical.windows import ramp
        >>> fbp(window=ramp).settings()
        {'window': 'ramp'}
    """
    return FilteredBackprojection(window=window)


@dataclass(frozen=True, kw_only=True)
class FilteredBackprojection:
    """The method behind `fbp`.

    Attributes:
        window: factor on the ramp filter.
    """

    window: Window

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "fbp"

    @property
    def n_samples(self) -> int | None:
        """None: there is no uncertainty."""
        return None

    @property
    def working_copies(self) -> int:
        """Sinogram, filtered sinogram, images and their parts; many at once share their tables."""
        return 5  # measured: 3.7 for each slice beyond the first ninety, and up to 4.5 with them

    def settings(self) -> dict[str, Setting]:
        """Return the window's name."""
        return {"window": window_name(self.window)}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice; nothing is random, so the seed does nothing.

        Args:
            problem: what was measured; rays that were not count by the guess in their place.
            seed: ignored.
            progress: called once, when done.

        Returns:
            The image, without uncertainty.
        """
        del seed
        return self.solve_slices([problem], progress=progress)[0]

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        """Reconstruct slices of one scan together, which is many times faster.

        Args:
            problems: what was measured.
            progress: called once, when done.

        Returns:
            The images, without uncertainty.
        """
        images = filtered_backprojection(
            torch.stack([problem.sinogram for problem in problems]),
            problems[0].grid,
            problems[0].scan,
            window=self.window,
        )
        if progress is not None:
            progress(1, 1)
        return [Estimate(mean=image) for image in images]


def filtered_backprojection(
    sinogram: Float[Tensor, "*batch views detectors"],
    grid: ImageGrid,
    scan: Scan,
    window: Window = hann,
) -> Float[Tensor, "*batch rows columns"]:
    """Invert the Radon transform, as if there were views enough and no noise.

    x(r) = Σ_v (F/L)² Σ_k Δ h(k_v(r) − k) J_k w_vk p_vk, with h the ramp filter times the window,
    Δ the spacing of the bins, k_v(r) where r falls on the detector (linear interpolation between
    bins), and w_vk the ray's weight, which shares out lines that are measured twice
    (`ct.classical.ray_weights`). For parallel beams F/L and J are 1. For fans F is the distance
    from source to detector, L that from source to r (along the perpendicular where the detector is
    flat) and J_k = (D cos γ − a sin γ)/F for the ray at angle γ, with D the distance from source to
    origin and a the source's offset. What bins do not cover counts as zero; the shorter side of a
    detector off the middle is filtered as far as the longer one reaches, so that a full turn gives
    the wider field.

    Args:
        sinogram: line integrals in image units times mm.
        grid: where the pixels shall be.
        scan: where the rays are; any angles.
        window: factor on the ramp filter.

    Returns:
        The images, in image units.

    Raises:
        ValueError: the sinogram's shape is not the scan's, or no image can be made from such a
            scan (`ct.possible_scan.check_possible`).

    Source:
        A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3,
        with the source off the axis: the ray at γ of the view at θ is that of a parallel beam at
        θ − γ with s = a cos γ + D sin γ, and dθ ds = (D cos γ − a sin γ) dθ dγ.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> grid, scan = ImageGrid((3, 3)), ParallelBeam((0.0, 1.6), n_detectors=3)
        >>> filtered_backprojection(torch.zeros(5, 2, 3), grid, scan).shape
        torch.Size([5, 3, 3])
    """
    if tuple(sinogram.shape[-2:]) != (scan.n_views, scan.n_detectors):
        raise ValueError(
            f"sinogram: expected shape [..., {scan.n_views}, {scan.n_detectors}] (the scan's views "
            f"and detectors), got {list(sinogram.shape)}."
        )
    check_possible(grid, scan)
    batch = sinogram.shape[:-2]
    weights = (ray_weights(scan) * _obliquity(scan)).to(sinogram)
    arc_radius = scan.source_detector if isinstance(scan, FanBeam) and scan.curved else None
    whole, margins = evened(scan)
    images = []
    stack = sinogram.reshape(math.prod(batch), *weights.shape)
    for start in range(0, len(stack), _IMAGES_AT_ONCE):
        part = stack[start : start + _IMAGES_AT_ONCE]
        weighted = torch.nn.functional.pad(part * weights, margins)
        filtered = ramp_filtered(weighted, scan.detector_spacing, window, arc_radius)
        images.append(backproject(filtered, grid, whole))
    return (
        torch.cat(images).reshape(*batch, *grid.shape)
        if images
        else sinogram.new_zeros(*batch, *grid.shape)
    )


def _obliquity(scan: Scan) -> Float64[Tensor, " detectors"]:
    """Return J: what a fan's rays at an angle to the perpendicular stand for."""
    if not isinstance(scan, FanBeam):
        return torch.ones(scan.n_detectors, dtype=torch.float64)
    ratio = scan.detector_positions / scan.source_detector
    gamma = ratio if scan.curved else ratio.atan()
    across = scan.source_origin * gamma.cos() - scan.source_offset * gamma.sin()
    return across / scan.source_detector
