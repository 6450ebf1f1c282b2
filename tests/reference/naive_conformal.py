"""Conformal intervals and sets straight from their definitions, point by point."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def kth_smallest(values: list[float], k: int) -> float:
    """From −∞, the 0th, to ∞, which comes after the last."""
    return [-math.inf, *sorted(values), math.inf][k]


def split_interval(
    scores: NDArray, mean: float, std: float, level: Fraction
) -> tuple[float, float]:
    """All y whose score is at most the ⌈level (n + 1)⌉-th smallest."""
    bound = kth_smallest(list(scores), math.ceil(level * (len(scores) + 1)))
    return mean - bound * std, mean + bound * std


def jackknife_plus_interval(
    residuals: NDArray, left_out: NDArray, level: Fraction
) -> tuple[float, float]:
    """Barber et al., equation 1.2: `left_out` are the n models' predictions at the new point."""
    n, alpha = len(residuals), 1 - level
    low = [m - r for m, r in zip(left_out, residuals, strict=True)]
    high = [m + r for m, r in zip(left_out, residuals, strict=True)]
    return (
        kth_smallest(low, math.floor(alpha * (n + 1))),
        kth_smallest(high, math.ceil(level * (n + 1))),
    )


def adaptive_set(probabilities: NDArray, part: float, threshold: float) -> set[int]:
    """Romano et al. 2020, equations 3 to 5: from the likeliest class on until `threshold`.

    The first classes that together have the threshold, less the last of them where what its
    probability leaves over exceeds `part` of it.
    """
    order = sorted(range(len(probabilities)), key=lambda k: -probabilities[k])
    gathered, chosen = 0.0, []
    for k in order:
        chosen.append(k)
        gathered += probabilities[k]
        if gathered >= threshold:
            break
    left_over = (gathered - threshold) / probabilities[chosen[-1]]
    if part > 1 - left_over:
        chosen.pop()
    return set(chosen)


def smallest_threshold(probabilities: NDArray, part: float, label: int) -> float:
    """The smallest threshold, to 1e-12, whose set holds the label, by bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if label in adaptive_set(probabilities, part, middle):
            high = middle
        else:
            low = middle
    return high


def folds_of_one_size(n: int, n_folds: int) -> NDArray:
    return np.arange(n) % n_folds
