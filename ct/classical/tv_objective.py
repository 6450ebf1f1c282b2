"""What total variation minimises, for several slices at once, and a lower bound of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ct.classical.tv_differences import (
    Lengths,
    differences,
    differences_adjoint,
    smallest_field,
)
from ct.problem import Problem
from ct.projectors.operator import Projector


@dataclass(frozen=True, kw_only=True)
class TVProblem:
    """½ Σ w (A x − y)² + λ TV(x) over images within bounds; w = 1/σ², 0 at missing rays.

    Attributes:
        projector: A.
        sinograms: y, one a slice.
        precision: w of every ray.
        weights: λ of every slice.
        lengths: what total variation adds up, such as `isotropic`.
        lower: least value of a pixel; −∞ for none.
        upper: greatest value of a pixel; ∞ for none.
    """

    projector: Projector
    sinograms: Float[Tensor, "slices views detectors"]
    precision: Float[Tensor, "slices views detectors"]
    weights: Float64[Tensor, " slices"]
    lengths: Lengths
    lower: float = -math.inf
    upper: float = math.inf

    @property
    def bounded(self) -> bool:
        """Whether there are bounds."""
        return self.lower > -math.inf or self.upper < math.inf

    def select(self, slices: Int64[Tensor, " some"]) -> TVProblem:
        """Return the problem of some of the slices."""
        return dataclasses.replace(
            self,
            sinograms=self.sinograms[slices],
            precision=self.precision[slices],
            weights=self.weights[slices],
        )


@dataclass(frozen=True, kw_only=True)
class DualPoint:
    """One number for each ray, each difference and, where there are bounds, each pixel.

    Attributes:
        rays: q.
        field: p, no longer than λ anywhere.
        bounds: m, of a sign that the bounds allow; None without bounds.
        backprojection: Aᵀq.
    """

    rays: Float[Tensor, "slices views detectors"]
    field: Float[Tensor, "slices 2 rows columns"]
    bounds: Float[Tensor, "slices rows columns"] | None
    backprojection: Float[Tensor, "slices rows columns"]


def tv_problem(
    problems: Sequence[Problem],
    *,
    lengths: Lengths,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> TVProblem:
    """Put slices together; their weights are still to be chosen (zero).

    Args:
        problems: slices that share the projector.
        lengths: what total variation adds up.
        lower: least value of a pixel.
        upper: greatest value of a pixel.

    Returns:
        The problem of all slices.
    """
    sinograms = torch.stack([problem.sinogram for problem in problems])
    noise_std = torch.stack([problem.noise_std for problem in problems])
    return TVProblem(
        projector=problems[0].projector,
        sinograms=sinograms,
        precision=noise_std.square().reciprocal(),  # of infinity: zero
        weights=torch.zeros(len(problems), dtype=torch.float64, device=sinograms.device),
        lengths=lengths,
        lower=lower,
        upper=upper,
    )


def total_variation(
    images: Float[Tensor, "slices rows columns"], lengths: Lengths
) -> Float64[Tensor, " slices"]:
    """Return Σ of the lengths of D x, without smoothing, in double precision."""
    return lengths(differences(images)).sum(dim=(-3, -2, -1), dtype=torch.float64)


def objective(
    problem: TVProblem,
    images: Float[Tensor, "slices rows columns"],
    projections: Float[Tensor, "slices views detectors"],
) -> Float64[Tensor, " slices"]:
    """Return P(x) = ½ Σ w (A x − y)² + λ TV(x) of images within the bounds.

    Args:
        problem: sinograms, precisions and weights.
        images: x.
        projections: A x.

    Returns:
        One value a slice.
    """
    return misfit(problem, projections) / 2 + problem.weights * total_variation(
        images, problem.lengths
    )


def misfit(
    problem: TVProblem, projections: Float[Tensor, "slices views detectors"]
) -> Float64[Tensor, " slices"]:
    """Return χ² = Σ w (A x − y)²."""
    squares = problem.precision * (projections - problem.sinograms).square()
    return squares.sum(dim=(-2, -1), dtype=torch.float64)


def dual_bound(
    problem: TVProblem,
    point: DualPoint,
    ones_projection: Float[Tensor, "views detectors"],
) -> Float64[Tensor, " slices"]:
    """Return a number that no image's objective is below, from any dual point.

    By Fenchel's duality, with h(m) = Σ sup {m x : lower ≤ x ≤ upper},

        P(x) ≥ −½ Σ q²/w − ⟨q, y⟩ − h(m)  wherever  Aᵀq + Dᵀp + m = 0  and  every |p| ≤ λ.

    An iterate satisfies the equation only in the limit, so it is first made to. A multiple of
    w·A1 is taken from q, so that the equation's two sides have equal means; then p takes up the
    rest, p − D(DᵀD)⁺(Aᵀq + Dᵀp + m). Then all three are scaled by the t in [0, λ/max|p|] for which
    the bound is greatest: the equation stays true, and p comes within λ. Nothing is assumed of the
    image; what remains is rounding.

    Args:
        problem: sinograms, precisions and weights.
        point: q, p and m.
        ones_projection: A1, the projection of an image of ones.

    Returns:
        The bound of every slice; the objective minus it is the duality gap.

    Source:
        Scaling a dual point: L. El Ghaoui, V. Viallon, T. Rabbani, Pacific Journal of Optimization
        8, 2012. The primal-dual problem: E. Y. Sidky, J. H. Jørgensen, X. Pan, Physics in Medicine
        and Biology 57, 2012.
    """
    precision = problem.precision
    direction = precision * ones_projection
    excess = _sum(ones_projection * point.rays)
    if point.bounds is not None:
        excess = excess + _sum(point.bounds)
    share = excess / _sum(direction * ones_projection).clamp(min=torch.finfo(torch.float64).tiny)
    step = share.to(direction.dtype)[:, None, None]
    rays = point.rays - step * direction
    rest = point.backprojection - step * problem.projector.T(direction)
    rest = rest + differences_adjoint(point.field)
    if point.bounds is not None:
        rest = rest + point.bounds
    # one slice after the other: mirrored images are large
    longest = torch.stack([
        problem.lengths(field - smallest_field(one)).amax()
        for field, one in zip(point.field, rest, strict=True)
    ]).double()
    # a ray without precision has q = 0
    quadratic = _sum(torch.where(precision > 0, rays.square() / precision, 0.0))
    linear = _sum(rays * problem.sinograms)
    if point.bounds is not None:
        linear = linear + _support(point.bounds, problem.lower, problem.upper)
    tiny = torch.finfo(torch.float64).tiny
    best = -linear / quadratic.clamp(min=tiny)
    scale = torch.minimum(best, problem.weights / longest.clamp(min=tiny)).clamp(min=0)
    return -(scale.square()) * quadratic / 2 - scale * linear


def _support(
    bounds: Float[Tensor, "slices rows columns"], lower: float, upper: float
) -> Float64[Tensor, " slices"]:
    """Return h(m); m is zero or less where there is no upper bound, and so on."""
    total = torch.zeros(len(bounds), dtype=torch.float64, device=bounds.device)
    if upper < math.inf:
        total += upper * _sum(bounds.clamp(min=0))
    if lower > -math.inf:
        total += lower * _sum(bounds.clamp(max=0))
    return total


def _sum(values: Float[Tensor, "slices rows columns"]) -> Float64[Tensor, " slices"]:
    return values.sum(dim=(-2, -1), dtype=torch.float64)
