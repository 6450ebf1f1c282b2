"""How often intervals hold the rays of views that neither the fit nor its calibration saw."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import ct
from ct.geometry import with_angles
from ct.problem import Method, Progress

LEVELS = (0.5, 0.9, 0.95)
EVERY = 10


@dataclass(frozen=True, kw_only=True)
class RayCheck:
    """What views that were kept apart say of a method's error bars.

    Attributes:
        views_fitted: views that the method had, its own calibration's among them.
        views_calibrated: views that the conformal factor comes from.
        views_checked: views that are counted here.
        coverage: share of the checked rays in their intervals, by level, as the method gives them.
        half_width: median half width of the 95 % intervals, over the noise.
        conformal: the same shares, where intervals are scaled by the calibration views' quantile.
        conformal_half_width: their median half width, over the noise.
        chi_squared: mean square of measurement minus prediction, over the noise, a checked ray.
        calibration: what the method did about its spread.
    """

    views_fitted: int
    views_calibrated: int
    views_checked: int
    coverage: dict[float, float]
    half_width: float
    conformal: dict[float, float]
    conformal_half_width: float
    chi_squared: float
    calibration: str


def check_rays(
    sinogram: Float[Tensor, "views detectors"],
    scan: ct.ParallelBeam | ct.FanBeam,
    grid: ct.ImageGrid,
    *,
    method: Method | None,
    noise_std: Float[Tensor, "views detectors"],
    repeats: int,
    progress: Progress | None = None,
) -> RayCheck:
    """Reconstruct without a fifth of the views; calibrate on half of these, check on the others.

    A ray's prediction is the mean's line integral. Its interval's half width joins the spread of
    the samples' line integrals s, by the factor f with which the result makes its pixels'
    intervals, and the noise: √((f·s)² + (z·σ)²). The conformal factor c widens √(s² + σ²) so that
    the calibration views' rays are covered; of views alike, it covers at its level by construction.

    Args:
        sinogram: line integrals.
        scan: where the rays are.
        grid: where the pixels shall be.
        method: a method with samples; None for the default.
        noise_std: of each ray; infinite where nothing was measured, which is not counted.
        repeats: views after which the same lines come again; these are kept apart together.
        progress: as `ct.reconstruct` has it.

    Returns:
        Shares and widths.
    """
    turn = torch.arange(scan.n_views) % repeats % EVERY
    calibrating, checking = turn == EVERY // 2 - 1, turn == EVERY - 1
    fitted = ~(calibrating | checking)
    result = ct.reconstruct(
        sinogram[fitted],
        views(scan, fitted),
        grid,
        method=method,
        noise_std=noise_std[fitted],
        keep_samples=True,
        progress=progress,
    )
    one, other = (
        _predict(result, sinogram, noise_std, scan, chosen) for chosen in (calibrating, checking)
    )
    coverage, conformal = {}, {}
    for level in LEVELS:
        half = _half_width(result, other, level)
        coverage[level] = _share(other.residual.abs() <= half)
        factor = _conformal_factor(one, level)
        conformal_half = factor * (other.spread.square() + other.noise.square()).sqrt()
        conformal[level] = _share(other.residual.abs() <= conformal_half)
    return RayCheck(
        views_fitted=int(fitted.sum()),
        views_calibrated=int(calibrating.sum()),
        views_checked=int(checking.sum()),
        coverage=coverage,
        half_width=float((half / other.noise).median()),
        conformal=conformal,
        conformal_half_width=float((conformal_half / other.noise).median()),
        chi_squared=float((other.residual / other.noise).square().mean()),
        calibration=str(result.metadata["calibration"]),
    )


def views(
    scan: ct.ParallelBeam | ct.FanBeam, chosen: Bool[Tensor, " views"]
) -> ct.ParallelBeam | ct.FanBeam:
    """Return the scan of some of the views."""
    kept = [angle for angle, one in zip(scan.angles, chosen.tolist(), strict=True) if one]
    return with_angles(scan, kept)


@dataclass(frozen=True, kw_only=True)
class _Rays:
    residual: Float[Tensor, " rays"]
    spread: Float[Tensor, " rays"]
    noise: Float[Tensor, " rays"]


def _predict(
    result: ct.Reconstruction,
    sinogram: Float[Tensor, "views detectors"],
    noise_std: Float[Tensor, "views detectors"],
    scan: ct.ParallelBeam | ct.FanBeam,
    chosen: Bool[Tensor, " views"],
) -> _Rays:
    operator = ct.projector(result.grid, views(scan, chosen))
    if result.samples is None:
        raise ValueError("method: expected one with samples, such as ct.mc_dropout().")
    spread = torch.stack([operator(sample) for sample in result.samples]).double().std(0)
    noise = noise_std[chosen].to(spread)
    measured = noise.isfinite()
    residual = sinogram[chosen].to(spread) - operator(result.mean)
    return _Rays(residual=residual[measured], spread=spread[measured], noise=noise[measured])


def _half_width(result: ct.Reconstruction, rays: _Rays, level: float) -> Float[Tensor, " rays"]:
    lower, upper = result.interval(level)
    assert result.std is not None
    factor = float(((upper - lower) / (2 * result.std)).double().median())
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    return ((factor * rays.spread).square() + (normal * rays.noise).square()).sqrt()


def _conformal_factor(rays: _Rays, level: float) -> float:
    scores = rays.residual.abs() / (rays.spread.square() + rays.noise.square()).sqrt()
    ordered = scores.sort().values
    rank = min(int(level * (len(ordered) + 1)), len(ordered) - 1)
    return float(ordered[rank])


def _share(inside: Bool[Tensor, " rays"]) -> float:
    return float(inside.double().mean())
