"""Scores of samples and mixtures straight from their definitions, pair by pair, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tests.reference.naive_scores import crps_by_integration


def mixture_nll(y: float, means: NDArray, stds: NDArray, weights: NDArray) -> float:
    parts = zip(weights, means, stds, strict=True)
    return float(-np.log(sum(w * stats.norm(m, s).pdf(y) for w, m, s in parts)))


def mixture_cdf(x: float, means: NDArray, stds: NDArray, weights: NDArray) -> float:
    return float(np.dot(weights, special.ndtr((x - means) / stds)))


def mixture_crps(y: float, means: NDArray, stds: NDArray, weights: NDArray) -> float:
    width = float(np.abs(y - means).max() + 12 * stds.max())
    return crps_by_integration(lambda x: mixture_cdf(x, means, stds, weights), y, width)


def sample_score(y: NDArray, samples: Sequence[NDArray], *, fair: bool) -> float:
    """E‖X − y‖ − ½ E‖X − X'‖ of one point; the fair score leaves out pairs of one sample."""
    m = len(samples)
    far = sum(float(np.linalg.norm(x - y)) for x in samples) / m
    apart = sum(float(np.linalg.norm(a - b)) for a in samples for b in samples)
    return far - 0.5 * apart / (m * (m - 1) if fair else m * m)
