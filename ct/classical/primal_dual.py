"""Total variation minimised by primal-dual steps in a filter's metric, slice by slice converged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ct.classical.primal_dual_metric import Metric, apply_filter
from ct.classical.primal_dual_state import State
from ct.classical.tv_differences import differences, differences_adjoint
from ct.classical.tv_objective import (
    DualPoint,
    TVProblem,
    dual_bound,
    misfit,
    objective,
    total_variation,
)

_RAY_STEP = 0.1  # times the mean precision
_LATE_RAY_STEP = 0.02  # the same for scans that are still not done: limited arcs need it
_LATE = 150  # iterations
_FIELD_STEP = 0.35  # times the weight over the mean length of a difference
_BOUND_STEP = 1.0  # times the ray step, times AᵀA at the highest frequencies
_RELAXATION = 1.8
_ROUND = 10  # iterations between two looks at the gap
_FLATNESS_FIXED_AFTER = 100  # iterations; when no step changes, convergence is a theorem


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """What was found for each slice, and how good it surely is.

    Attributes:
        images: the images, within the bounds.
        objective: P of each image.
        gap: P minus a lower bound of it; no image is better by more than that.
        chi_squared: Σ w (A x − y)².
        iterations: how many were made.
    """

    images: Float[Tensor, "slices rows columns"]
    objective: Float64[Tensor, " slices"]
    gap: Float64[Tensor, " slices"]
    chi_squared: Float64[Tensor, " slices"]
    iterations: Int64[Tensor, " slices"]

    @property
    def relative_gap(self) -> Float64[Tensor, " slices"]:
        """The gap over the objective; 0 where both are."""
        tiny = torch.finfo(torch.float64).tiny
        return self.gap / self.objective.clamp(min=tiny)


def start(problem: TVProblem, metric: Metric) -> State:
    """Return the multiple of a filtered back-projection that fits best, and no dual yet."""
    weighted = problem.precision * problem.sinograms
    image = apply_filter(problem.projector.T(weighted), metric.projection.reciprocal())
    projection = problem.projector(image)
    power = (problem.precision * projection.square()).sum(dim=(-2, -1), dtype=torch.float64)
    share = (weighted * projection).sum(dim=(-2, -1), dtype=torch.float64) / power.clamp(
        min=torch.finfo(torch.float64).tiny
    )
    image = _each(share, image) * image
    projection = _each(share, projection) * projection
    return State(
        image=image,
        projection=projection,
        rays=torch.zeros_like(projection),
        backprojection=torch.zeros_like(image),
        field=torch.zeros_like(differences(image)),
        bounds=torch.zeros_like(image) if problem.bounded else None,
    )


def advance(
    problem: TVProblem,
    metric: Metric,
    state: State,
    iterations: int,
    flatness: Float64[Tensor, " slices"],
    ray_step_share: float = _RAY_STEP,
) -> tuple[State, State]:
    """Make some iterations; return where to go on from, and the last proposal, which is judged.

    With T⁻¹ = σ₁ C_A + σ₂ C_D + σ₃ (`Metric`), one iteration is, all proposals then
    over-relaxed by 1.8,

        x' = x − T (Aᵀq + Dᵀp + m),  z = 2x' − x,
        q' = w (q + σ₁(A z − y))/(w + σ₁),  p' = p + σ₂ D z shortened to λ,
        m' = (m + σ₃ z) − σ₃ · clamp((m + σ₃ z)/σ₃, lower, upper).

    Args:
        problem: sinograms, precisions and weights.
        metric: the filters.
        state: where to start.
        iterations: how many.
        flatness: number of pixels over the total variation to expect; it sets σ₂.
        ray_step_share: σ₁ over the mean precision.

    Returns:
        The over-relaxed state, and the proposal before over-relaxation.

    Source:
        A. Chambolle, T. Pock, Journal of Mathematical Imaging and Vision 40, 2011; over-relaxation:
        L. Condat, Journal of Optimization Theory and Applications 158, 2013.
    """
    operator, w, y = problem.projector, problem.precision, problem.sinograms
    rays_seen = (w > 0).sum(dim=(-2, -1)).clamp(min=1)
    ray_step = _each(ray_step_share * w.sum(dim=(-2, -1), dtype=torch.float64) / rays_seen, y)
    field_step = _each(_FIELD_STEP * problem.weights * flatness, y)
    weight = _each(problem.weights, y)[..., None]
    inverse = ray_step * metric.projection + field_step * metric.difference
    bound_step = _BOUND_STEP * ray_step * metric.projection.amin()
    if state.bounds is not None:
        inverse = inverse + bound_step
    tiny = torch.finfo(y.dtype).tiny
    response = inverse.clamp(min=tiny).reciprocal()
    shrink = w / (w + ray_step).clamp(min=tiny)
    proposal = state
    for _ in range(iterations):
        push = state.backprojection + differences_adjoint(state.field)
        if state.bounds is not None:
            push += state.bounds
        image = state.image - apply_filter(push, response)
        projection = operator(image)
        rays = shrink * (state.rays + ray_step * (2 * projection - state.projection - y))
        ahead = 2 * image - state.image
        field = state.field + field_step[..., None] * differences(ahead)
        field *= (weight / problem.lengths(field).clamp(min=tiny)).clamp(max=1)
        bounds = None
        if state.bounds is not None:
            free = state.bounds + bound_step * ahead
            bounds = free - bound_step * (free / bound_step).clamp(problem.lower, problem.upper)
        proposal = State(
            image=image,
            projection=projection,
            rays=rays,
            backprojection=operator.T(rays),
            field=field,
            bounds=bounds,
        )
        state = state.combined(_over_relax, proposal)
    return state, proposal


def minimise(
    problem: TVProblem,
    metric: Metric,
    state: State,
    *,
    tolerance: float,
    max_iterations: int,
    report: Callable[[float], None] | None = None,
) -> Minimum:
    """Iterate until every slice's relative duality gap is at most the tolerance.

    A slice that is done drops out of the batch.

    Args:
        problem: sinograms, precisions and weights.
        metric: the filters.
        state: where to start, such as `start`.
        tolerance: largest gap over objective.
        max_iterations: where to stop regardless.
        report: called with the share that is done, which never falls.

    Returns:
        Images and certificates.
    """
    n_slices = len(problem.sinograms)
    found: list[Minimum | None] = [None] * n_slices
    open_slices = torch.arange(n_slices, device=problem.sinograms.device)
    flatness = flatness_of(problem, state)
    share = 0.0
    for done in range(0, max_iterations, _ROUND):
        if done < _FLATNESS_FIXED_AFTER:
            flatness = flatness_of(problem, state)
        n = min(_ROUND, max_iterations - done)
        ray_step = _RAY_STEP if done < _LATE else _LATE_RAY_STEP
        state, proposal = advance(problem, metric, state, n, flatness, ray_step)
        minimum = judge(problem, metric, proposal, iterations=done + n)
        last = done + n >= max_iterations
        stop = (minimum.relative_gap <= tolerance) | last
        for place in stop.nonzero().flatten().tolist():
            found[int(open_slices[place])] = _only(minimum, place)
        if report is not None:
            way = minimum.relative_gap.clamp(tolerance, 1).log() / math.log(tolerance)
            share = max(share, 1 - float((1 - way)[~stop].sum()) / n_slices)
            report(share)
        keep = (~stop).nonzero().flatten()
        if len(keep) == 0:
            break
        if len(keep) < len(open_slices):
            open_slices, flatness = open_slices[keep], flatness[keep]
            problem, state = problem.select(keep), state.select(keep)
    return _together([one for one in found if one is not None])


def judge(problem: TVProblem, metric: Metric, proposal: State, *, iterations: int) -> Minimum:
    """Return the images, within the bounds, with their objective and gap.

    Args:
        problem: sinograms, precisions and weights.
        metric: the filters.
        proposal: image and dual point before over-relaxation.
        iterations: how many it took.

    Returns:
        Images and certificates.
    """
    images, projections = proposal.image, proposal.projection
    if problem.bounded:
        images = images.clamp(problem.lower, problem.upper)
        projections = problem.projector(images)
    value = objective(problem, images, projections)
    point = DualPoint(
        rays=proposal.rays,
        field=proposal.field,
        bounds=proposal.bounds,
        backprojection=proposal.backprojection,
    )
    # below zero it is rounding
    gap = (value - dual_bound(problem, point, metric.ones_projection)).clamp(min=0)
    return Minimum(
        images=images,
        objective=value,
        gap=gap,
        chi_squared=misfit(problem, projections),
        iterations=torch.full_like(gap, iterations, dtype=torch.int64),
    )


def flatness_of(problem: TVProblem, state: State) -> Float64[Tensor, " slices"]:
    """Return pixels over total variation of the images as they are."""
    variation = total_variation(state.image, problem.lengths)
    n_pixels = state.image[0].numel()
    # an empty scan has flat images: then any step will do
    return torch.where(variation > 0, n_pixels / variation.clamp(min=1e-300), 1.0)


def _over_relax(old: Tensor, new: Tensor) -> Tensor:
    return torch.lerp(old, new, _RELAXATION)


def _only(minimum: Minimum, place: int) -> Minimum:
    return Minimum(**{name: value[place : place + 1] for name, value in vars(minimum).items()})


def _together(parts: list[Minimum]) -> Minimum:
    return Minimum(**{
        field.name: torch.cat([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(Minimum)
    })


def _each(values: Float64[Tensor, " slices"], like: Tensor) -> Float[Tensor, "slices 1 1"]:
    return values.to(like.dtype)[:, None, None]
