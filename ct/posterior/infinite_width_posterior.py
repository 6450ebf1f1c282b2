"""Mean and joint deviations of a Gaussian random image with a mean level, given a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.posterior.infinite_width_scan import WhitenedScan, ray_precision
from ct.posterior.infinite_width_solver import Fit, Solver
from ct.problem import Problem

# places of the random streams under the seed of the samples
_PRIOR, _NOISE, _LEVEL = 0, 1, 2


@runtime_checkable
class PriorDraws(Protocol):
    """What draws images of the prior."""

    def draw(self, seed: int, places: range) -> Float[Tensor, "places rows columns"]:
        """Return draws from N(0, C), one a place of the random stream."""
        ...


@dataclass(frozen=True, kw_only=True)
class ScanPosterior:
    """The posterior of x = level + s·f with f ~ N(0, C) and level ~ N(0, v), v may be infinite.

    With M = B C Bᵀ + I in units of the noise and u the rays of an image of ones, the level is
    estimated by uᵀM⁻¹r/(uᵀM⁻¹u + 1/v) (generalised least squares), and f by what it leaves.

    Attributes:
        mean: of x.
        solver: of B, C.
        scan: B and C.
        draws: images of the prior of f.
        prior_std: s.
        level_std: √v.
        ones: u.
        fit_of_ones: the image that explains u.
        level_precision: uᵀM⁻¹u + 1/v.
        fit: what explains the measurements.
    """

    mean: Float[Tensor, "rows columns"]
    solver: Solver
    scan: WhitenedScan
    draws: PriorDraws
    prior_std: float
    level_std: float
    ones: Float[Tensor, "views detectors"]
    fit_of_ones: Fit
    level_precision: float
    fit: Fit

    def deviations(
        self, seed: int, places: range, *, tolerance: float
    ) -> tuple[Float[Tensor, "places rows columns"], Fit]:
        """Return draws of x − mean, joint over all pixels, by Matheron's rule.

        A prior draw plus noise is scanned, and what the posterior mean would make of that scan is
        taken from the draw.

        Args:
            seed: of all draws.
            places: of the random stream, one a draw.
            tolerance: of the solves.

        Returns:
            The deviations, and the fit of the scans.
        """
        images = self.draws.draw(seeded_generator(seed, _PRIOR).initial_seed(), places)
        noise, levels = (
            torch.stack([self._normal(seed, kind, place, shape) for place in places]).to(images)
            for kind, shape in ((_NOISE, self.ones.shape), (_LEVEL, (1, 1)))
        )
        levels *= self.level_std if self.level_std < torch.inf else 0.0
        rays = self.scan.project(images) + noise + levels * self.ones
        fit = self.solver.solve(rays, tolerance=tolerance)
        weight = self.solver.overlap(self.fit_of_ones, fit) / self.level_precision
        change = weight.to(images)[:, None, None]
        explained = change + self.prior_std * (fit.images - change * self.fit_of_ones.images)
        return levels + self.prior_std * images - explained, fit

    def _normal(self, seed: int, kind: int, place: int, shape: tuple[int, ...]) -> Tensor:
        generator = seeded_generator(seed, kind, place)
        return torch.randn(shape, dtype=torch.float64, generator=generator)


def scan_posterior(
    problem: Problem,
    solver: Solver,
    scan: WhitenedScan,
    draws: PriorDraws,
    *,
    prior_std: float,
    level_std: float,
    tolerance: float,
) -> ScanPosterior:
    """Return the posterior of one slice.

    Args:
        problem: what was measured.
        solver: of the scan.
        scan: B and C.
        draws: images of the prior of f.
        prior_std: s, in the image's units.
        level_std: √v, in the image's units; infinity for an unknown level.
        tolerance: of the solves for the mean.

    Returns:
        The posterior, with its mean.
    """
    precision = ray_precision(problem)
    lengths = problem.projector(problem.sinogram.new_ones(problem.grid.shape))
    ones = lengths * precision
    # a level to start from keeps large numbers out of float32's way
    squares = ones.double().square().sum()
    rays = torch.where(precision > 0, problem.sinogram, 0.0) * precision
    start = float((ones.double() * rays).sum() / squares)
    both = torch.stack([rays - start * ones, ones])
    fit = solver.solve(both, tolerance=tolerance)
    fit_of_ones = fit.part(1)
    overlaps = solver.overlap(fit_of_ones, fit)
    level_precision = float(overlaps[1]) + level_std**-2
    level = (float(overlaps[0]) - start * level_std**-2) / level_precision
    image = fit.images[0] - level * fit.images[1]
    return ScanPosterior(
        mean=start + level + prior_std * image,
        solver=solver,
        scan=scan,
        draws=draws,
        prior_std=prior_std,
        level_std=level_std,
        ones=ones,
        fit_of_ones=fit_of_ones,
        level_precision=level_precision,
        fit=fit.part(0),
    )
