"""Error bars scaled by what held-out views say of them; the truth is never asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from bayesnn.calibration import conformal_quantile, reliability_curve
from bayesnn.seeds import seeded_generator
from ct.geometry import Scan, with_angles
from ct.half_width import LEVELS, student_half_width
from ct.posterior.view_folds import blind_spot
from ct.problem import Estimate, Problem, Progress
from ct.projectors.operator import projector

Solve: TypeAlias = Callable[[Problem, int, Progress | None], Estimate]
"""From a problem and a seed to an estimate."""

_HELD_OUT_FIT = 1  # place of the random stream of the fit without the held-out views
_LARGEST_SCALE = 100.0


def check_held_out(share: float) -> None:
    """Refuse what is no share of the views to hold out.

    Raises:
        ValueError: it is not between 0 and a half.

    Example:
        >>> check_held_out(0.1)
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"held_out: expected a share of the views from 0 to 0.5, got {share!r}.")


def solve_with_held_out_scale(
    solve: Solve, problem: Problem, *, share: float, seed: int, progress: Progress | None
) -> Estimate:
    """Solve twice: without some views, to scale the spread by them, then with all.

    The first fit predicts the rays of the held-out views: mean m and variance v = Var(A·samples).
    Where the spread is right, measurements y of noise σ have E[(y − m)² / (v + σ²)] = 1. The
    scale s ≥ 1 with mean[(y − m)² / (s²v + σ²)] = 1 multiplies the second fit's standard
    deviations, and its samples' distances from their mean. The half widths of intervals are
    conformal quantiles of |y − m| / √(s²v + σ²) where those are wider than Student's, which know
    only how many samples there are.

    One number for the whole image cannot mend the spread's pattern (`ct.jackknife` can). Nor can
    held-out views speak for what no view of their kind sees, such as directions outside a limited
    arc, which the calibration names.

    Args:
        solve: the method for one problem; its estimates need samples.
        problem: what was measured.
        share: share of the views to hold out, evenly spread over their order; where that rounds
            to no view, the spread stays as it is.
        seed: seed of the fits.
        progress: called with the steps of both fits.

    Returns:
        The estimate from all views, with `calibration`, half widths, the share of held-out rays
        that intervals cover whose scale and half widths other held-out views gave, and the
        diagnostic "std_scale".
    """
    held = held_out_mask(problem.scan.n_views, share)
    if not bool(held.any()):
        return solve(problem, seed, progress)
    first_seed = seeded_generator(seed, _HELD_OUT_FIT).initial_seed()
    rays = _predicted(solve, problem, held, first_seed, _half(progress, 0))
    scale = rays.scale()
    estimate = solve(problem, seed, _half(progress, 1))
    if estimate.std is None:
        raise ValueError("held-out views: the method has no spread that they could scale.")
    samples = estimate.samples
    return dataclasses.replace(
        estimate,
        std=scale * estimate.std,
        samples=None if samples is None else estimate.mean + scale * (samples - estimate.mean),
        calibration=f"one scale from held-out views ({int(held.sum())} of {len(held)})"
        + blind_spot(problem.scan),
        half_widths=_half_widths(rays, scale),
        held_out_coverage=_coverage(rays),
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rays:
    """Held-out rays that were measured, one after the other."""

    residual: Float[Tensor, " rays"]
    spread_variance: Float[Tensor, " rays"]
    noise_variance: Float[Tensor, " rays"]
    view: Int64[Tensor, " rays"]
    n_samples: int  # behind the spread

    def scale(self) -> float:
        return spread_scale(self.residual, self.spread_variance, self.noise_variance)

    def scores(self, scale: float) -> Float[Tensor, " rays"]:
        variance = scale**2 * self.spread_variance + self.noise_variance
        return self.residual.abs() / variance.sqrt()

    def of(self, chosen: Bool[Tensor, " rays"]) -> _Rays:
        return _Rays(
            residual=self.residual[chosen],
            spread_variance=self.spread_variance[chosen],
            noise_variance=self.noise_variance[chosen],
            view=self.view[chosen],
            n_samples=self.n_samples,
        )


def _predicted(
    solve: Solve, problem: Problem, held: Tensor, seed: int, progress: Progress | None
) -> _Rays:
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
    view = torch.arange(len(measured), device=measured.device)[:, None].expand_as(measured)
    return _Rays(
        residual=(problem.sinogram[held] - predict(estimate.mean))[measured],
        spread_variance=rays.var(0)[measured],
        noise_variance=problem.noise_std[held][measured].square(),
        view=view[measured],
        n_samples=len(rays),
    )


def _half_widths(rays: _Rays, scale: float) -> dict[float, float]:
    """Return the rays' conformal quantiles; never less than what so few samples ask for."""
    scores = rays.scores(scale)
    widths = {level: student_half_width(level, rays.n_samples) for level in LEVELS}
    for level, width in widths.items():
        quantile = float(conformal_quantile(scores, level)) if len(scores) else 0.0
        if width < quantile < math.inf:  # few rays say nothing of high levels
            widths[level] = quantile
    return widths


def _coverage(rays: _Rays) -> dict[float, float] | None:
    """Return what intervals cover whose scale and half widths every other held-out view gave."""
    even = rays.view % 2 == 0
    halves = [rays.of(even), rays.of(~even)]
    if any(len(half.residual) == 0 for half in halves):
        return None
    covered = dict.fromkeys(LEVELS, 0.0)
    for fitted, judged in (halves, halves[::-1]):
        scale = fitted.scale()
        widths = list(_half_widths(fitted, scale).values())
        shares = reliability_curve(judged.scores(scale), widths).tolist()
        part = len(judged.residual) / len(rays.residual)
        for level, share in zip(LEVELS, shares, strict=True):
            covered[level] += part * share
    return covered


def _views(scan: Scan, chosen: Tensor) -> Scan:
    angles = [angle for angle, one in zip(scan.angles, chosen.tolist(), strict=True) if one]
    return with_angles(scan, angles)


def _half(progress: Progress | None, index: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, 2 * total)
