"""Scores straight from their definitions, point by point, in NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, stats


def crps_by_integration(cdf: Callable[[float], float], y: float, width: float) -> float:
    """∫ (F(x) − 1{y ≤ x})² dx over `width` on either side of y, where F is smooth."""
    below = integrate.quad(lambda x: cdf(x) ** 2, y - width, y, limit=200)[0]
    above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, y + width, limit=200)[0]
    return float(below + above)


def mean_gaussian_nll(mean: NDArray, variance: NDArray, y: NDArray) -> float:
    points = zip(mean.flat, variance.flat, y.flat, strict=True)
    return float(np.mean([-stats.norm(m, v**0.5).logpdf(t) for m, v, t in points]))


def mean_interval_score(lower: NDArray, upper: NDArray, y: NDArray, level: float) -> float:
    scores = []
    for a, b, t in zip(lower.flat, upper.flat, y.flat, strict=True):
        score = b - a
        if t < a:
            score += 2 / (1 - level) * (a - t)
        if t > b:
            score += 2 / (1 - level) * (t - b)
        scores.append(score)
    return float(np.mean(scores))


def calibration_error(interval_at: Callable[[float], tuple[NDArray, NDArray]], y: NDArray) -> float:
    total = 0.0
    for p in np.arange(0, 1, 0.05):
        lower, upper = interval_at(float(p))
        held = [a <= t <= b for a, b, t in zip(lower.flat, upper.flat, y.flat, strict=True)]
        total += 0.05 * abs(sum(held) / len(held) - p)
    return total
