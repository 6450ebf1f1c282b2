"""A scan of a Gaussian random image, in units of its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.geometry import FanBeam, Scan
from ct.posterior.infinite_width_grid import GridKernel
from ct.problem import Problem
from ct.projectors.operator import Projector


@dataclass(frozen=True, kw_only=True)
class WhitenedScan:
    """r = B f + ε with f ~ N(0, C) of variance 1 and ε of variance 1: B = diag(s/σ) A.

    Rays that were not measured, and rays that meet no pixel, are rows of zeros.

    Attributes:
        projector: A.
        kernel: C.
        scaling: s/σ of each ray, s being the prior standard deviation of a pixel.
        response: B's hold on each frequency of the kernel's padded grid, roughly: the
            preconditioner's only knowledge of the scan.
    """

    projector: Projector
    kernel: GridKernel
    scaling: Float[Tensor, "views detectors"]
    response: Float[Tensor, "padded_rows frequencies"]

    def project(
        self, images: Float[Tensor, "*batch rows columns"]
    ) -> Float[Tensor, "*batch views detectors"]:
        """Return B f."""
        return self.projector(images) * self.scaling

    def backproject(
        self, rays: Float[Tensor, "*batch views detectors"]
    ) -> Float[Tensor, "*batch rows columns"]:
        """Return Bᵀ r."""
        return self.projector.T(rays * self.scaling)


def ray_precision(problem: Problem) -> Float[Tensor, "views detectors"]:
    """Return 1/σ of each ray, 0 for those that were not measured or meet no pixel.

    Raises:
        ValueError: no ray is left.
    """
    lengths = problem.projector(problem.sinogram.new_ones(problem.grid.shape))
    precision = torch.where(lengths > 0, problem.noise_std.reciprocal(), 0.0)
    if not bool((precision > 0).any()):
        raise ValueError(
            "infinite-width: no measured ray meets the image; check pixel_size, the detector's "
            "spacing and its centre."
        )
    return precision


def whitened_scan(problem: Problem, kernel: GridKernel, *, prior_std: float) -> WhitenedScan:
    """Return the scan of one slice.

    Args:
        problem: what was measured.
        kernel: correlation of the image's pixels.
        prior_std: s, in the image's units.
    """
    rows, columns = kernel.padded
    pixel = problem.grid.pixel_size
    frequency = torch.hypot(
        torch.fft.fftfreq(rows, pixel, dtype=torch.float64)[:, None],
        torch.fft.rfftfreq(columns, pixel, dtype=torch.float64),
    )
    return WhitenedScan(
        projector=problem.projector,
        kernel=kernel,
        scaling=prior_std * ray_precision(problem),
        response=prior_std**2 * response(problem, frequency).to(problem.sinogram),
    )


def response(
    problem: Problem, frequency: Float64[Tensor, "*frequencies"]
) -> Float64[Tensor, "*frequencies"]:
    """Return what a view adds at a frequency to the image's, over the noise, roughly.

    A view's Fourier transform at ω is the image's on a line, so each view adds C's spectrum times
    (mean length of a ray)/(bin · pixel²) to the variance at ω. Where the lines lie closer than
    1/length, views share frequencies; of n views, n/(π · length · |ω|) are then one.

    Args:
        problem: what was measured.
        frequency: |ω|, in cycles per mm.

    Returns:
        The factor on the eigenvalues of a kernel of the pixels.
    """
    precision = ray_precision(problem).double()
    lengths = problem.projector(problem.sinogram.new_ones(problem.grid.shape)).double()
    n_seen = max(int((lengths > 0).sum()), 1)
    length = float(lengths.sum()) / n_seen or 1.0
    n_views = problem.scan.n_views
    shared = (n_views / (math.pi * length * frequency.clamp(min=1e-12))).clamp(1, n_views)
    mean_square = float(precision.square().sum()) / n_seen
    return mean_square * length * problem.grid.pixel_size**2 / bin_width(problem.scan) * shared


def bin_width(scan: Scan) -> float:
    """Return the distance of neighbouring rays at the axis of rotation, in mm."""
    magnification = scan.magnification if isinstance(scan, FanBeam) else 1.0
    return scan.detector_spacing / magnification
