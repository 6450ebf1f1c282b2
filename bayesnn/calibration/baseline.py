"""The baseline beside every coverage: one interval width for all points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.gaussian_scores import crps_gaussian, nll_gaussian
from bayesnn.calibration.inputs import same_shaped
from bayesnn.calibration.interval_scores import coverage, interval_score, mean_width

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class ConstantWidthScores:
    """Scores of a prediction whose standard deviation is the same everywhere.

    Attributes:
        std: the one standard deviation.
        level: what the intervals claim.
        coverage: share of the points that their intervals hold.
        mean_width: width of the intervals.
        interval_score: mean interval score.
        nll: mean negative log likelihood.
        crps: mean continuous ranked probability score.
    """

    std: Tensor
    level: float
    coverage: Tensor
    mean_width: Tensor
    interval_score: Tensor
    nll: Tensor
    crps: Tensor


def constant_width_baseline(
    mean: ArrayLike | Tensor,
    variance: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    *,
    level: float = 0.95,
) -> ConstantWidthScores:
    """Score the same prediction with its uncertainty spread evenly over all points.

    The standard deviation is √(mean v), the root mean square of the one that is judged: as much
    uncertainty in all, but without knowledge of where it belongs. It is chosen without y. An
    uncertainty that scores no better than this has told nothing about where the errors are.

    Args:
        mean: predictions, of any shape.
        variance: v, the variance that is judged, like `mean` or a single number.
        y: what was observed, like `mean`.
        level: probability in (0, 1) of the Gaussian intervals.

    Returns:
        The baseline's scores.

    Raises:
        ValueError: shapes that differ, values that are not finite, a variance below 0 or 0
            everywhere, a level outside (0, 1).

    Example:
        >>> scores = constant_width_baseline([0.0, 0.0], [1.0, 7.0], [1.0, 9.0])
        >>> float(scores.std), float(scores.coverage)
        (2.0, 0.5)
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability in (0, 1), got {level!r}.")
    mean, variance, y = same_shaped(mean=mean, variance=variance, y=y)
    if bool((variance < 0).any()):
        raise ValueError("variance: expected values of at least 0, got some below.")
    constant = variance.mean()
    if not bool(constant > 0):
        raise ValueError("variance: expected values above 0 somewhere, got 0 everywhere.")
    std = constant.sqrt()
    half = math.sqrt(2) * torch.erfinv(constant.new_tensor(level)) * std
    interval = (mean - half, mean + half)
    return ConstantWidthScores(
        std=std,
        level=level,
        coverage=coverage(interval, y),
        mean_width=mean_width(interval),
        interval_score=interval_score(interval, y, level),
        nll=nll_gaussian(y, mean, std),
        crps=crps_gaussian(y, mean, std),
    )
