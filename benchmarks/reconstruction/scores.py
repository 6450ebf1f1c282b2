"""Scores of one slice by region: all pixels, inside the body, near edges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

import ct
from bayesnn.calibration import sample_quantile_intervals
from ct.uncertainty_scores import ErrorBars

_ALL_LEVELS = tuple(k / 20 for k in range(20))
_JITTER = 1e-6  # of the published negative log likelihood, for images in [0, 1]
_WINDOW = 7

Scores: TypeAlias = dict[str, float]


def slice_scores(
    result: ct.Reconstruction, truth: Tensor, regions: Mapping[str, Tensor]
) -> dict[str, Scores]:
    """Score one slice against its truth, by region.

    Values are divided by the truth's greatest value, so that figures compare with those of images
    in [0, 1]. Nothing is fitted to the truth.

    Args:
        result: one slice, with its samples if it has any.
        truth: what it should be.
        regions: masks, by name, such as `ct.score_regions.score_regions` gives.

    Returns:
        For each region, by name: psnr, ssim and, where there are error bars, nll, crps, ece,
        cover and width of each level, the same of a constant width (const_...), best_const_nll of
        the one width that the truth would choose, and, where there are samples, sample_ece with
        its ece_floor.
    """
    truth = truth.double()
    scale = float(truth.max())
    mean = result.mean.to(truth)
    clipped = mean.clamp(truth.min(), truth.max())
    squares, similar = (clipped - truth).square(), similarity_map(clipped, truth, scale)
    bars = _error_bars(result, truth, scale)
    found: dict[str, Scores] = {}
    for name, mask in regions.items():
        found[name] = {
            "psnr": 10 * math.log10(scale**2 / max(float(squares[mask].mean()), 1e-300)),
            "ssim": float(similar[_inner(mask)].mean()) if _inner(mask).any() else math.nan,
            "share": float(mask.double().mean()),
        }
        if bars is not None:
            found[name] |= _scores(bars, mask)
    return found


def published_nll(mean: Tensor, variance: Tensor, truth: Tensor) -> float:
    """½ log 2π(v + 1e-6) + ½ ((m − x)² + 1e-6)/(v + 1e-6), averaged."""
    jittered = variance + _JITTER
    squares = (mean - truth).square() + _JITTER
    return float(((2 * math.pi * jittered).log() + squares / jittered).mean()) / 2


def similarity_map(image: Tensor, truth: Tensor, data_range: float) -> Tensor:
    """Return the structural similarity around each pixel, as scikit-image's default has it.

    Windows of 7² equal weights, sample covariances; a border of 3 pixels has none.
    """
    n_pixels = _WINDOW**2

    def local(values: Tensor) -> Tensor:
        mean: Tensor = torch.nn.functional.avg_pool2d(values[None, None], _WINDOW, 1)[0, 0]
        return mean

    # centred first, or the variances would cancel
    shift = truth.mean()
    one, two = image - shift, truth - shift
    mean_one, mean_two = local(one), local(two)
    unbiased = n_pixels / (n_pixels - 1)
    var_one = unbiased * (local(one * one) - mean_one.square())
    var_two = unbiased * (local(two * two) - mean_two.square())
    covariance = unbiased * (local(one * two) - mean_one * mean_two)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_one, mean_two = mean_one + shift, mean_two + shift
    above = (2 * mean_one * mean_two + c1) * (2 * covariance + c2)
    below = (mean_one.square() + mean_two.square() + c1) * (var_one + var_two + c2)
    return above / below


def _inner(mask: Tensor) -> Tensor:
    border = _WINDOW // 2
    return mask[border:-border, border:-border]


def _error_bars(result: ct.Reconstruction, truth: Tensor, scale: float) -> ErrorBars | None:
    """Return the error bars where the truth is, its greatest value being 1."""
    if result.std is None:
        return None
    mean = result.mean.to(truth) / scale
    intervals = {0.0: (mean, mean)}
    for level in _ALL_LEVELS[1:]:
        lower, upper = result.interval(level)
        intervals[level] = (lower.to(truth) / scale, upper.to(truth) / scale)
    samples = result.samples
    between = None if samples is None else sample_quantile_intervals(samples.to(truth) / scale)
    return ErrorBars(
        mean=mean,
        std=result.std.to(truth) / scale,
        truth=truth / scale,
        intervals=intervals,
        sample_intervals=None if between is None else {p: between(p) for p in _ALL_LEVELS},
        n_samples=result.n_samples,
    )


def _scores(bars: ErrorBars, mask: Tensor) -> Scores:
    found = bars.score(mask)
    mean, variance, truth = bars.mean[mask], bars.std[mask].square(), bars.truth[mask]
    squares = (mean - truth).square().mean()
    scores = {
        "nll": published_nll(mean, variance, truth),
        "const_nll": published_nll(mean, variance.mean().expand_as(mean), truth),
        "best_const_nll": published_nll(mean, squares.expand_as(mean), truth),
        "crps": found.crps,
        "ece": found.ece,
        "rms_std": found.rms_std,
        "rmse": found.rmse,
    }
    for level in found.levels:
        name = f"{100 * level.level:.0f}"
        scores |= {
            f"cover{name}": level.coverage,
            f"width{name}": level.width,
            f"const_cover{name}": level.constant_coverage,
            f"const_width{name}": level.constant_width,
        }
    if found.sample_ece is not None and found.sample_ece_floor is not None:
        scores |= {"sample_ece": found.sample_ece, "ece_floor": found.sample_ece_floor}
    return scores
