"""The prior of an image under an infinitely wide network, in the grid's terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from ct.geometry import ImageGrid
from ct.posterior.infinite_width_features import FeatureDraws, power_series
from ct.posterior.infinite_width_grid import GridKernel, grid_kernel, negligible
from ct.posterior.infinite_width_likelihood import (
    PriorScales,
    likely_scales,
    scan_spectrum,
    unit_spectrum,
)
from ct.posterior.infinite_width_network import (
    InfiniteNetwork,
    angle_of_frequencies,
)
from ct.posterior.infinite_width_posterior import PriorDraws, ScanPosterior, scan_posterior
from ct.posterior.infinite_width_rays import RaySpace
from ct.posterior.infinite_width_scan import bin_width, response, whitened_scan
from ct.posterior.infinite_width_solver import Solver, WeightSpace
from ct.problem import Problem


@dataclass(frozen=True, kw_only=True)
class ImagePrior:
    """x = level + s·f, f ~ N(0, C), level ~ N(0, v).

    Attributes:
        network: gives C's entries.
        frequencies: B; None for infinitely many.
        scales: s, Ω₀ (of given frequencies their own) and the noise's factor.
        likely_noise_factor: the factor on the noise that the scan's spectrum makes likeliest.
        level_std: √v, which may be infinite.
        kernel: C.
    """

    network: InfiniteNetwork
    frequencies: Float64[Tensor, "n 2"] | None
    scales: PriorScales
    likely_noise_factor: float
    level_std: float
    kernel: GridKernel

    @property
    def amplitude(self) -> float:
        """By what the network's output is multiplied: a, with s² = a²(κ(1) − κ(0))."""
        return self.scales.prior_std / self.network.spread

    @property
    def how_drawn(self) -> str:
        """How images of the prior are drawn, in words."""
        return "circulant embedding" if self.kernel.embedded else "random features"


def chosen_prior(
    problem: Problem,
    network: InfiniteNetwork,
    *,
    frequencies: Float64[Tensor, "n 2"] | None,
    frequency_std: float | None,
    amplitude: float | None,
    unknown_level: bool,
    fit_noise: bool,
) -> ImagePrior:
    """Return the prior whose scales are those given, or the likeliest.

    Args:
        problem: what was measured.
        network: gives the covariance.
        frequencies: B; None for infinitely many.
        frequency_std: Ω₀; None for the likeliest, or that of B.
        amplitude: a; None for the likeliest.
        unknown_level: whether the level's variance is infinite; a²κ(0) otherwise.
        fit_noise: whether the noise's factor is the likeliest; 1 otherwise.
    """
    if frequencies is not None:
        frequency_std = float(frequencies.square().mean().sqrt())
    choose = partial(
        likely_scales,
        scan_spectrum(problem),
        unit_spectrum(network.radial),
        pixel=pixel_in_half_sides(problem.grid),
        frequency_std=frequency_std,
        prior_std=None if amplitude is None else amplitude * network.spread,
    )
    with_noise = choose(fit_noise=True)
    scales = with_noise if fit_noise else choose()
    a = scales.prior_std / network.spread
    return ImagePrior(
        network=network,
        frequencies=frequencies,
        scales=scales,
        likely_noise_factor=with_noise.noise_factor,
        level_std=math.inf if unknown_level else a * math.sqrt(max(network.constant, 0.0)),
        kernel=network_grid_kernel(
            network,
            problem.grid,
            frequencies=frequencies,
            frequency_std=scales.frequency_std,
            like=problem.sinogram,
        ),
    )


def network_grid_kernel(
    network: InfiniteNetwork,
    grid: ImageGrid,
    *,
    frequencies: Float64[Tensor, "n 2"] | None,
    frequency_std: float,
    like: Tensor,
) -> GridKernel:
    """Return C, the correlation of a grid's pixels around their level.

    Args:
        network: gives the covariance.
        grid: where the pixels are.
        frequencies: B; None for infinitely many.
        frequency_std: Ω₀, where they are infinitely many.
        like: a tensor of the device and dtype to compute in.
    """
    pixel = pixel_in_half_sides(grid)

    def correlation(
        down: Float64[Tensor, "rows 1"], right: Float64[Tensor, "1 columns"]
    ) -> Float64[Tensor, "rows columns"]:
        if frequencies is None:
            return network.radial(frequency_std * pixel * torch.hypot(down, right))
        angle = angle_of_frequencies(-pixel * down, pixel * right, frequencies)
        angle = torch.where((down == 0) & (right == 0), 0.0, angle)  # not what rounding leaves
        return network.correlation(angle)

    reach = math.inf
    if frequencies is None:
        # ρ falls from pixel to pixel, and the correlation with it
        offsets = torch.arange(4 * max(grid.shape) + 1, dtype=torch.float64)
        beyond = network.radial(frequency_std * pixel * offsets) > negligible(like.dtype)
        reach = float(offsets[beyond].max()) + 1
    return grid_kernel(correlation, grid.shape, reach=reach, like=like)


def posterior_of(problem: Problem, prior: ImagePrior, *, tolerance: float) -> ScanPosterior:
    """Return the posterior, by the faster solver and draws where C has an embedding.

    Args:
        problem: what was measured, with the noise's factor in its noise.
        prior: of the image.
        tolerance: of the solves for the mean.
    """
    scan = whitened_scan(problem, prior.kernel, prior_std=prior.scales.prior_std)
    solver: Solver = WeightSpace(scan=scan)
    draws: PriorDraws = prior.kernel
    if not prior.kernel.embedded:
        solver = RaySpace(scan=scan, spectrum=_view_spectrum(problem, prior))
        draws = FeatureDraws(
            series=power_series(prior.network),
            frequencies=prior.frequencies,
            frequency_std=prior.scales.frequency_std,
            shape=problem.grid.shape,
            like=problem.sinogram,
        )
    return scan_posterior(
        problem,
        solver,
        scan,
        draws,
        prior_std=prior.scales.prior_std,
        level_std=prior.level_std,
        tolerance=tolerance,
    )


def pixel_in_half_sides(grid: ImageGrid) -> float:
    """Return a pixel's side in a network's unit: half the image's longer side."""
    return 2 / max(grid.shape)


def _view_spectrum(problem: Problem, prior: ImagePrior) -> Float64[Tensor, " frequencies"]:
    """Return the variance of a view's Fourier coefficients in units of the noise's, roughly.

    Given frequencies are taken as if they were infinitely many of their own spread.
    """
    grid, scan = problem.grid, problem.scan
    frequency = torch.fft.rfftfreq(scan.n_detectors, bin_width(scan), dtype=torch.float64)
    # Ω₀ in radians a pixel, so that the spectrum is that of the pixels' kernel
    scale = prior.scales.frequency_std * pixel_in_half_sides(grid)
    spectrum = unit_spectrum(prior.network.radial)
    angular = 2 * math.pi * grid.pixel_size / scale * frequency
    values = torch.from_numpy(spectrum(angular.numpy())) / scale**2
    known = prior.scales.prior_std**2 * values * response(problem, frequency)
    return (1 + known).to(problem.sinogram.device)
