"""Errors of members' mean and standard deviation, with what exact samples would score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEAR = 0.02  # a point is near the data if they leave less than this part of its prior variance


@dataclass(frozen=True, kw_only=True)
class PointErrors:
    """Errors over a set of test points, each with its Monte-Carlo standard error.

    Attributes:
        n_points: how many points.
        mean_error: mean of |mean − reference| in reference standard deviations.
        mean_error_floor: what exact samples, as many as there are members, would score.
        std_ratio: mean of the standard deviations' ratio, ensemble over reference.
        std_ratio_error: its standard error for exact samples, from the reference's correlations.
        least_std_ratio: the smallest at any of the points.
        largest_std_ratio: the largest.
    """

    n_points: int
    mean_error: float
    mean_error_floor: float
    std_ratio: float
    std_ratio_error: float
    least_std_ratio: float
    largest_std_ratio: float


def point_errors(
    members: Float[Tensor, "m n"], mean: Float[Tensor, " n"], covariance: Float[Tensor, "n n"]
) -> PointErrors:
    """Return the errors over all the points given, n ≥ 1.

    Args:
        members: values.
        mean: the reference's.
        covariance: the reference's.
    """
    m, n = members.shape
    std = covariance.diagonal().sqrt()
    ratio = members.std(0) / std
    correlation = covariance / torch.outer(std, std)
    # sample standard deviations at two points have the correlation ρ² to first order
    ratio_error = (correlation.square().sum() / (2 * (m - 1))).sqrt() / n
    return PointErrors(
        n_points=n,
        mean_error=float(((members.mean(0) - mean).abs() / std).mean()),
        mean_error_floor=math.sqrt(2 / math.pi / m),
        std_ratio=float(ratio.mean()),
        std_ratio_error=float(ratio_error),
        least_std_ratio=float(ratio.min()),
        largest_std_ratio=float(ratio.max()),
    )


def near_data(
    variance: Float[Tensor, " n"], prior_variance: Float[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Return at which points the data leave less than a fiftieth of the prior variance."""
    return variance < NEAR * prior_variance


def covariance_errors(
    members: Float[Tensor, "m n"], covariance: Float[Tensor, "n n"]
) -> tuple[float, float]:
    """Return ‖C − C_ref‖/‖C_ref‖ in the Frobenius norm, and what exact samples score on average."""
    square, trace = covariance.square().sum(), covariance.trace()
    found = (torch.cov(members.T) - covariance).square().sum()
    floor = (trace**2 + square) / ((len(members) - 1) * square)
    return float((found / square).sqrt()), float(floor.sqrt())
