"""Simulated scans of known images: by the projector itself, finer, in counts, or analytic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor

import ct
from benchmarks.reconstruction.images import averaged
from ct.data.counts import measure
from ct.data.detector_response import response_from_i0
from ct.data.noise_models import draw_counts
from ct.data.simulated_scans import bin_means, parallel_scan, with_divided_bins
from ct.problem import Problem
from ct.score_regions import body_mask, score_regions

FINER = 3
"""Parts into which pixels are divided along either axis, where no discretisation is shared."""
PER_BIN = 2
WATER = 0.02  # attenuation of water at some 60 keV, 1/mm
PIXEL = 0.7  # mm

Measure: TypeAlias = Callable[[Tensor, Generator], tuple[Tensor, Tensor]]
"""From noiseless line integrals to measured ones and the standard deviation of each ray."""


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """Slices of known images with noise of a known size."""

    truth: Tensor
    scan: ct.ParallelBeam
    grid: ct.ImageGrid
    problems: list[Problem]

    @cached_property
    def regions(self) -> list[dict[str, Tensor]]:
        """Masks of each slice's regions, by name."""
        return [score_regions(truth.double()) for truth in self.truth]

    def psnr(self, images: Tensor) -> Tensor:
        """PSNR of each slice, in dB below its greatest value."""
        error = (images - self.truth).double().square().mean((-2, -1))
        return 10 * (self.truth.amax((-2, -1)).double().square() / error).log10()


def simulated(images: np.ndarray, *, views: int, snr_db: float, device: str) -> Simulated:
    """θ = kπ/views, ceil(√2·N) + 1 bins, σ² = mean((Ax)²)·10^(−snr/10), by the projector itself."""
    truth = torch.from_numpy(images).to(device)
    grid = ct.ImageGrid((truth.shape[-2], truth.shape[-1]))
    scan = parallel_scan(grid, views=views)
    operator = ct.projector(grid, scan)
    return measured(truth, grid, scan, [operator(image) for image in truth], white(snr_db))


def simulated_finer(
    images: np.ndarray,
    *,
    views: int,
    measure_rays: Measure,
    device: str,
    pixel_size: float = 1.0,
    side: int | None = None,
) -> Simulated:
    """As `simulated`, the images' pixels divided by 3 and bins by 2.

    Args:
        images: squares of one value, whose line integrals are measured.
        views: number of angles over half a turn.
        measure_rays: adds the noise.
        device: where to compute.
        pixel_size: of the images, in mm.
        side: pixels of the truth along an axis, each the mean of as many of the images' as fit;
            None for the images' own.
    """
    length = images.shape[-1]
    side = length if side is None else min(side, length)
    truth = torch.from_numpy(averaged(images, side)).to(device)
    grid = ct.ImageGrid((side, side), pixel_size * length / side)
    scan = parallel_scan(grid, views=views)
    fine = ct.ImageGrid((FINER * length, FINER * length), pixel_size / FINER)
    operator = ct.projector(fine, with_divided_bins(scan, PER_BIN))

    def line_integrals(image: np.ndarray) -> Tensor:
        divided = image.repeat(FINER, 0).repeat(FINER, 1)
        return bin_means(operator(torch.from_numpy(divided).to(device)), PER_BIN)

    return measured(truth, grid, scan, [line_integrals(one) for one in images], measure_rays)


def simulated_phantoms(
    *, side: int, slices: int, views: int, snr_db: float, device: str
) -> Simulated:
    """Random Shepp–Logan phantoms by their exact line integrals; pixels are means over squares."""
    grid = ct.ImageGrid((side, side))
    scan = parallel_scan(grid, views=views)
    made = [ct.shepp_logan(grid, seed=0, index=index) for index in range(slices)]
    truth = torch.stack([phantom.image(grid).float() for phantom in made]).to(device)
    clean = [phantom.sinogram(scan, samples_per_bin=PER_BIN).float() for phantom in made]
    return measured(truth, grid, scan, [one.to(device) for one in clean], white(snr_db))


def attenuating(images: np.ndarray) -> np.ndarray:
    """Scale images to 1/mm: the median of each body is water."""
    scaled = [
        WATER * image / float(np.median(image[body_mask(torch.from_numpy(image)).numpy()]))
        for image in images
    ]
    return np.stack(scaled).astype(np.float32)


def white(snr_db: float) -> Measure:
    """Gaussian noise, the same for all rays: σ² = mean((Ax)²)·10^(−snr/10)."""

    def measure_rays(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        std = math.sqrt(float(clean.double().square().mean()) * 10 ** (-snr_db / 10))
        noise = torch.randn(clean.shape, generator=generator)
        return clean + std * noise.to(clean), torch.full_like(clean, std)

    return measure_rays


def photons(i0: float) -> Measure:
    """Poisson counts, read as the package reads a detector's file: σ from the counts alone."""

    def measure_rays(clean: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        counts = draw_counts(clean, i0, generator).cpu().numpy()
        found = measure(counts, response_from_i0(i0, counts.shape[1], None), 1.0)
        assert found.noise_std is not None
        return torch.from_numpy(found.values).to(clean), torch.from_numpy(found.noise_std).to(clean)

    return measure_rays


def measured(
    truth: Tensor,
    grid: ct.ImageGrid,
    scan: ct.ParallelBeam,
    clean: Sequence[Tensor],
    measure_rays: Measure,
) -> Simulated:
    """Disturb each slice's line integrals, by a random stream of its own."""
    operator = ct.projector(grid, scan)
    problems = []
    for index, one in enumerate(clean):
        sinogram, std = measure_rays(one, torch.Generator().manual_seed(index))
        problems.append(
            Problem(sinogram=sinogram, noise_std=std, projector=operator, grid=grid, scan=scan)
        )
    return Simulated(truth=truth, scan=scan, grid=grid, problems=problems)
