"""Calibration errors, rankings and selective prediction from their definitions, in Python."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def equal_width(confidence: NDArray, n_bins: int) -> list[list[int]]:
    """Points by bin (b/B, (b + 1)/B], 0 in the first."""
    bins: list[list[int]] = [[] for _ in range(n_bins)]
    for i, c in enumerate(confidence):
        inside = [b for b in range(n_bins) if b / n_bins < c <= (b + 1) / n_bins]
        bins[inside[0] if inside else 0].append(i)
    return bins


def equal_mass(confidence: NDArray, n_bins: int) -> list[list[int]]:
    """Sorted points in parts as even as can be, equal ones in the first part that holds one."""
    parts = np.array_split(np.sort(confidence), n_bins)
    bins: list[list[int]] = [[] for _ in range(n_bins)]
    for i, c in enumerate(confidence):
        bins[next(b for b, part in enumerate(parts) if c in part)].append(i)
    return bins


def mean_gap(bins: list[list[int]], confidence: NDArray, right: NDArray) -> float:
    gaps = [len(b) * abs(np.mean(right[b]) - np.mean(confidence[b])) for b in bins if b]
    return sum(gaps) / len(right)


def debiased_square(bins: list[list[int]], confidence: NDArray, right: NDArray) -> float:
    total = 0.0
    for b in bins:
        if len(b) > 1:
            accuracy = np.mean(right[b])
            square = (accuracy - np.mean(confidence[b])) ** 2
            total += len(b) * (square - accuracy * (1 - accuracy) / (len(b) - 1))
    return total / len(right)


def pairs_in_order(inside: NDArray, outside: NDArray) -> float:
    """Share of the pairs whose point from outside scores higher, ties as a half."""
    return float(np.mean([(o > i) + 0.5 * (o == i) for i in inside for o in outside]))


def false_alarms(inside: NDArray, outside: NDArray, tpr: float) -> float:
    """The fewest false alarms of all thresholds that find enough."""
    found = [t for t in outside if np.mean(outside >= t) >= tpr - 1e-12]
    return min(float(np.mean(inside >= t)) for t in found)


def risks(losses: NDArray, uncertainty: NDArray) -> list[float]:
    """Expected mean loss of the k most certain, over random orders of ties."""
    result = []
    ordered = np.sort(uncertainty)
    for k in range(1, len(losses) + 1):
        last = ordered[k - 1]
        surely, maybe = losses[uncertainty < last], losses[uncertainty == last]
        result.append((surely.sum() + (k - len(surely)) * maybe.mean()) / k)
    return result


def entropy(p: NDArray) -> float:
    return -sum(float(v) * math.log(v) for v in p if v > 0)
