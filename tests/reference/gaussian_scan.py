"""A small scan in several variants, and dense Gaussian posteriors of its image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

import ct
from ct.posterior.normalisation import value_range
from ct.problem import Estimate, Problem, Progress, Setting
from ct.projectors.operator import Projector

SIDE = 10
NOISE = 0.1


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """N(mean, covariance) over the pixels of an image, in float64."""

    mean: Tensor
    covariance: Tensor

    @property
    def std(self) -> Tensor:
        return self.covariance.diagonal().sqrt().reshape(self.mean.shape)

    def independent(self) -> Gaussian:
        """The optimum of mean-field inference: same mean, variances 1/precision_ii."""
        precision = torch.linalg.inv(self.covariance)
        return Gaussian(mean=self.mean, covariance=precision.diagonal().reciprocal().diag())

    def whitened(self, images: Tensor) -> Tensor:
        """Return [n, pixels] that are N(0, I) where the images are samples of this Gaussian."""
        root = torch.linalg.cholesky(self.covariance)
        deviations = (images.double() - self.mean).flatten(1)
        return torch.linalg.solve_triangular(root, deviations.T, upper=False).T

    def samples(self, n: int, *, seed: int) -> Tensor:
        draws = torch.randn(n, self.mean.numel(), generator=torch.Generator().manual_seed(seed))
        root = torch.linalg.cholesky(self.covariance)
        return self.mean + (draws.double() @ root.T).reshape(n, *self.mean.shape)


@dataclass(frozen=True)
class GaussianScan:
    """Line integrals of a disc beside a bar, with noise that `noise` says the size of.

    The draw of the noise is the same in all variants with the same views, up to its size.
    """

    arc: float = math.pi
    views: int = 9
    noise: float = NOISE
    turn: float = 0.0
    values: float = 1.0
    lengths: float = 1.0

    @property
    def grid(self) -> ct.ImageGrid:
        return ct.ImageGrid((SIDE, SIDE), pixel_size=0.8 * self.lengths)

    @property
    def scan(self) -> ct.ParallelBeam:
        angles = [k * self.arc / self.views + self.turn for k in range(self.views)]
        return ct.ParallelBeam(angles, n_detectors=16, detector_spacing=0.8 * self.lengths)

    @cached_property
    def operator(self) -> Projector:
        return ct.projector(self.grid, self.scan)

    @property
    def noise_std(self) -> float:
        return self.noise * self.values * self.lengths

    @cached_property
    def sinogram(self) -> Tensor:
        """Of the object that turns with the scan."""
        still = dataclasses.replace(self, turn=0.0, values=1.0, lengths=1.0)
        x, y = still.grid.x_positions, still.grid.y_positions[:, None]
        disc = ((x + 1) ** 2 + (y - 0.8) ** 2 < 3).double()
        image = disc + 0.5 * ((x - 2).abs() < 0.6) * (y < 1)
        clean = still.operator(image)
        draws = torch.randn(clean.shape, generator=torch.Generator().manual_seed(7)).double()
        return self.values * self.lengths * (clean + self.noise * draws)

    @property
    def problem(self) -> Problem:
        return Problem(
            sinogram=self.sinogram,
            noise_std=torch.full_like(self.sinogram, self.noise_std),
            projector=self.operator,
            grid=self.grid,
            scan=self.scan,
        )

    def posterior(self, prior: Gaussian) -> Gaussian:
        """Return the posterior that belongs to a prior over images."""
        return _posterior(self.problem, prior)

    def pixel_prior(self, precision: float) -> Gaussian:
        """Return the prior of `PixelGrid()` of that precision."""
        return pixel_prior(self.problem, precision)


@dataclass(frozen=True, kw_only=True)
class DensePixels:
    """The exact posterior of pixels N(level, scale²/τ), τ = 3, and ways to get it wrong.

    Attributes:
        n_samples: how many.
        width: factor on the spread.
        shift: of the mean, in standard deviations.
        independent: whether the pixels are drawn one by one.
        always: this posterior, whatever was measured.
    """

    n_samples: int
    width: float = 1.0
    shift: float = 0.0
    independent: bool = False
    always: Gaussian | None = None

    @property
    def name(self) -> str:
        return "dense"

    def settings(self) -> dict[str, Setting]:
        return {"n_samples": self.n_samples}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        del progress
        posterior = self.always or _posterior(problem, pixel_prior(problem, 3.0))
        if self.independent:
            variances = posterior.std.flatten().square()
            posterior = dataclasses.replace(posterior, covariance=variances.diag())
        samples = posterior.samples(self.n_samples, seed=seed)
        samples = posterior.mean + self.width * (samples - posterior.mean)
        samples += self.shift * posterior.std
        return Estimate(mean=samples.mean(0), std=samples.std(0), samples=samples)


def pixel_prior(problem: Problem, precision: float) -> Gaussian:
    """What `PixelGrid()` with parameters N(0, 1/τ) says of the image, in its own units."""
    values = value_range(problem)
    level = torch.full(problem.grid.shape, values.level, dtype=torch.float64)
    variance = values.scale**2 / precision
    return Gaussian(
        mean=values.to_image(level),
        covariance=variance * torch.eye(level.numel(), dtype=torch.float64),
    )


def _posterior(problem: Problem, prior: Gaussian) -> Gaussian:
    """Solve the normal equations with dense matrices."""
    shape = problem.grid.shape
    pixels = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    matrix = problem.projector(pixels).flatten(1).T / problem.noise_std.flatten()[:, None]
    data = (problem.sinogram / problem.noise_std).flatten()
    precision = matrix.T @ matrix + torch.linalg.inv(prior.covariance)
    covariance = torch.linalg.inv(precision)
    start = prior.mean.flatten()
    mean = start + covariance @ (matrix.T @ (data - matrix @ start))
    return Gaussian(mean=mean.reshape(shape), covariance=covariance)
