"""Scores of one slice by region: all pixels, inside the body, near edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

import ct
from bayesnn.calibration import (
    constant_width_baseline,
    coverage,
    ece_floor,
    expected_calibration_error,
    gaussian_crps,
    mean_width,
)

LEVELS = (0.5, 0.9, 0.95)
_ALL_LEVELS = tuple(k / 20 for k in range(20))
_JITTER = 1e-6  # of the published negative log likelihood, for images in [0, 1]
_WINDOW = 7

Interval: TypeAlias = tuple[Tensor, Tensor]
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
    error_bars = _error_bars(result, truth, scale)
    found: dict[str, Scores] = {}
    for name, mask in regions.items():
        found[name] = {
            "psnr": 10 * math.log10(scale**2 / max(float(squares[mask].mean()), 1e-300)),
            "ssim": float(similar[_inner(mask)].mean()) if _inner(mask).any() else math.nan,
            "share": float(mask.double().mean()),
        }
        if error_bars is not None:
            found[name] |= error_bars(mask)
    return found


def published_nll(mean: Tensor, variance: Tensor, truth: Tensor) -> float:
    """½ log 2π(v + 1e-6) + ½ ((m − x)² + 1e-6)/(v + 1e-6), averaged."""
    jittered = variance + _JITTER
    squares = (mean - truth).square() + _JITTER
    return float(((2 * math.pi * jittered).log() + squares / jittered).mean()) / 2


def sample_intervals(samples: Tensor) -> dict[float, Interval]:
    """Return central intervals between sample quantiles, as published figures take them.

    Args:
        samples: [samples, rows, columns].
    """
    ordered = samples.sort(0).values
    last = len(ordered) - 1

    def quantile(share: float) -> Tensor:
        place = share * last
        low = min(math.floor(place), last)
        return torch.lerp(ordered[low], ordered[min(low + 1, last)], place - low)

    return {p: (quantile((1 - p) / 2), quantile((1 + p) / 2)) for p in _ALL_LEVELS}


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


def _error_bars(
    result: ct.Reconstruction, truth: Tensor, scale: float
) -> Callable[[Tensor], Scores] | None:
    """Return what scores a region's error bars; None where there are none."""
    if result.std is None:
        return None
    mean, std, unit = result.mean.to(truth) / scale, result.std.to(truth) / scale, truth / scale
    claimed: dict[float, Interval] = {0.0: (mean, mean)}
    for level in _ALL_LEVELS[1:]:
        lower, upper = result.interval(level)
        claimed[level] = (lower.to(truth) / scale, upper.to(truth) / scale)
    samples = result.samples
    quantiles = None if samples is None else sample_intervals(samples.to(truth) / scale)

    def scores(mask: Tensor) -> Scores:
        m, v, x = mean[mask], std[mask].square(), unit[mask]
        found = {
            "nll": published_nll(m, v, x),
            "crps": float(gaussian_crps(m, v, x)),
            "ece": _calibration_error(claimed, mask, x),
            "rms_std": float(v.mean().sqrt()),
            "rmse": float((m - x).square().mean().sqrt()),
            "const_nll": published_nll(m, v.mean().expand_as(v), x),
            "best_const_nll": published_nll(m, (m - x).square().mean().expand_as(v), x),
        }
        for level in LEVELS:
            interval = _within(claimed[level], mask)
            constant = constant_width_baseline(m, v, x, level=level)
            found |= {
                f"cover{100 * level:.0f}": float(coverage(interval, x)),
                f"width{100 * level:.0f}": float(mean_width(interval)),
                f"const_cover{100 * level:.0f}": float(constant.coverage),
                f"const_width{100 * level:.0f}": float(constant.mean_width),
            }
        if quantiles is not None and samples is not None:
            found["sample_ece"] = _calibration_error(quantiles, mask, x)
            found["ece_floor"] = ece_floor(len(samples))
        return found

    return scores


def _calibration_error(intervals: Mapping[float, Interval], mask: Tensor, truth: Tensor) -> float:
    return float(expected_calibration_error(lambda level: _within(intervals[level], mask), truth))


def _within(interval: Interval, mask: Tensor) -> Interval:
    return interval[0][mask], interval[1][mask]
