"""A scan like the measured one whose truth is known: what goes wrong there goes wrong here."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.geometry import ImageGrid, Scan
from ct.posterior.view_folds import by_direction, turned
from ct.problem import Problem
from ct.projectors.operator import Projector, projector


def known_scan(problem: Problem, image: Float[Tensor, "rows columns"], *, seed: int) -> Problem:
    """Return a simulated scan of an image: same noise, all views turned by half a step.

    The image is a reconstruction, in which directions between the views are smoother than those
    along them. Turned views lie between; what they see has all that the measured views brought, and
    the directions that they miss hold as much as those that the measured ones missed. Scanned along
    the same views, the image would come back too well.

    Args:
        problem: what was measured.
        image: the truth of the new scan.
        seed: of its noise.

    Returns:
        The scan of the image, in which rays are missing where the problem's are.
    """
    scan = turned(problem.scan)
    operator = _projector(problem.grid, scan)
    noise_std = problem.noise_std
    noise = torch.randn(noise_std.shape, dtype=torch.float64, generator=seeded_generator(seed))
    scale = torch.where(noise_std.isfinite(), noise_std, 0.0)
    sinogram = operator(image) + scale * noise.to(noise_std)
    return dataclasses.replace(
        problem, sinogram=sinogram, projector=operator, scan=scan, keep_samples=False
    )


def neighbours(scan: Scan) -> Int64[Tensor, "two views"]:
    """Return, for each view, the two views of the turned scan that lie nearest on either side.

    Args:
        scan: the measured scan.

    Returns:
        Places of views; for the first view in direction, twice its own.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> neighbours(ParallelBeam([0.0, 1.0, 2.0], 3)).tolist()
        [[0, 0, 1], [0, 1, 2]]
    """
    order = by_direction(scan)
    before = torch.empty_like(order)
    before[order] = torch.cat([order[:1], order[:-1]])
    return torch.stack([before, torch.arange(len(order))])


@lru_cache(maxsize=1)
def _projector(grid: ImageGrid, scan: Scan) -> Projector:
    # slices of a volume share it
    return projector(grid, scan)
