"""Error bars scaled by what held-out views say of them; the truth is never asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.geometry import Scan, with_angles
from ct.problem import Estimate, Problem, Progress
from ct.projectors.operator import projector

Solve: TypeAlias = Callable[[Problem, int, Progress | None], Estimate]
"""From a problem and a seed to an estimate."""

_HELD_OUT_FIT = 1  # place of the random stream of the fit without the held-out views
_LARGEST_SCALE = 100.0


def solve_with_held_out_scale(
    solve: Solve, problem: Problem, *, share: float, seed: int, progress: Progress | None
) -> Estimate:
    """Solve twice: without some views, to scale the spread by them, then with all.

    The first fit predicts the rays of the held-out views: mean m and variance v = Var(A·samples).
    Where the spread is right, measurements y of noise σ have E[(y − m)² / (v + σ²)] = 1. The
    scale s ≥ 1 with mean[(y − m)² / (s²v + σ²)] = 1 multiplies the second fit's standard
    deviations, and its samples' distances from their mean.

    One number for the whole image cannot mend the spread's pattern. Nor can held-out views speak
    for what no view of their kind sees, such as directions outside a limited arc.

    Args:
        solve: the method for one problem; its estimates need samples.
        problem: what was measured.
        share: share of the views to hold out, evenly spread over their order; where that rounds
            to no view, the spread stays as it is.
        seed: seed of the fits.
        progress: called with the steps of both fits.

    Returns:
        The estimate from all views, with `calibration` and the diagnostic "std_scale".
    """
    held = held_out_mask(problem.scan.n_views, share)
    if not bool(held.any()):
        return solve(problem, seed, progress)
    first_seed = seeded_generator(seed, _HELD_OUT_FIT).initial_seed()
    scale = _scale(solve, problem, held, first_seed, _half(progress, 0))
    estimate = solve(problem, seed, _half(progress, 1))
    if estimate.std is None:
        raise ValueError("held-out views: the method has no spread that they could scale.")
    samples = estimate.samples
    return dataclasses.replace(
        estimate,
        std=scale * estimate.std,
        samples=None if samples is None else estimate.mean + scale * (samples - estimate.mean),
        calibration=f"one scale from held-out views ({int(held.sum())} of {len(held)})",
        diagnostics={**estimate.diagnostics, "std_scale": scale},
    )


def held_out_mask(n_views: int, share: float) -> Bool[Tensor, " views"]:
    """Return which views to hold out: round(share · n_views) of them, evenly spread.

    Example:
        >>> held_out_mask(10, 0.2).nonzero().flatten().tolist()
        [2, 7]
    """
    n_held = round(share * n_views)
    mask = torch.zeros(n_views, dtype=torch.bool)
    if n_held > 0:
        mask[((torch.arange(n_held) + 0.5) * n_views / n_held).long()] = True
    return mask


def spread_scale(
    residual: Float[Tensor, " rays"],
    spread_variance: Float[Tensor, " rays"],
    noise_variance: Float[Tensor, " rays"],
) -> float:
    """Return the s ≥ 1 with mean[residual² / (s² · spread_variance + noise_variance)] = 1.

    Args:
        residual: measurement minus prediction, in the sinogram's units.
        spread_variance: the prediction's variance, without the noise.
        noise_variance: the measurement noise's.

    Returns:
        At least 1, because rays that are predicted well prove nothing of single pixels; at most
        100.

    Example:
        >>> two = torch.full((50,), 2.0)
        >>> round(spread_scale(two, torch.full((50,), 0.75), torch.ones(50)), 3)
        2.0
    """
    squares = residual.double().square()
    spread, noise = spread_variance.double(), noise_variance.double()
    low, high = 1.0, _LARGEST_SCALE
    for _ in range(60):  # bisection: the mean falls as s grows
        middle = (low * high) ** 0.5
        if float((squares / (middle**2 * spread + noise)).mean()) > 1:
            low = middle
        else:
            high = middle
    return low


def _scale(
    solve: Solve, problem: Problem, held: Tensor, seed: int, progress: Progress | None
) -> float:
    kept = ~held
    fitted = dataclasses.replace(
        problem,
        sinogram=problem.sinogram[kept],
        noise_std=problem.noise_std[kept],
        projector=projector(problem.grid, _views(problem.scan, kept)),
        scan=_views(problem.scan, kept),
        keep_samples=True,
        checkpoint=problem.checkpoint.part("held-out"),
    )
    estimate = solve(fitted, seed, progress)
    if estimate.samples is None:
        raise ValueError("held-out views: the method gave no samples to predict them with.")
    predict = projector(problem.grid, _views(problem.scan, held))
    rays = torch.stack([predict(sample) for sample in estimate.samples])
    measured = problem.noise_std[held].isfinite()
    return spread_scale(
        (problem.sinogram[held] - predict(estimate.mean))[measured],
        rays.var(0)[measured],
        problem.noise_std[held][measured].square(),
    )


def _views(scan: Scan, chosen: Tensor) -> Scan:
    angles = [angle for angle, one in zip(scan.angles, chosen.tolist(), strict=True) if one]
    return with_angles(scan, angles)


def _half(progress: Progress | None, index: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, 2 * total)
