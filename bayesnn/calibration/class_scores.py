"""Proper scores of predicted class probabilities: Brier and logarithmic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.calibration.class_inputs import checked_labels, checked_probabilities

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def brier_score(y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor) -> Tensor:
    """Mean squared distance of class probabilities from what was observed, over all classes.

    Σ_c (p_c − 1{y = c})², averaged over the points, as Brier defined it: 0 is perfect, 2 the worst;
    lower is better. For two classes it is twice the score of the second class alone.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: p, [n, classes]; rows sum to 1.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, or unknown classes.

    Source:
        G. W. Brier, Monthly Weather Review 78, 1950.

    Example:
        >>> float(brier_score([0, 1], [[1.0, 0.0], [0.5, 0.5]]))
        0.25
    """
    p = checked_probabilities(probabilities)
    observed = checked_labels(y, p, "probabilities").unsqueeze(1)
    return p.scatter_add(1, observed, -p.new_ones(observed.shape)).square().sum(1).mean()


def log_score(y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor) -> Tensor:
    """Mean negative log probability of the observed classes, in nats a point.

    −log p_y, averaged over the points: 0 is perfect; lower is better. Infinite where an observed
    class was given probability 0: nothing is clipped, since a clip would decide the score.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: p, [n, classes]; rows sum to 1.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, or unknown classes.

    Example:
        >>> round(float(log_score([0, 1], [[1.0, 0.0], [0.5, 0.5]])), 4)
        0.3466
    """
    p = checked_probabilities(probabilities)
    observed = checked_labels(y, p, "probabilities").unsqueeze(1)
    return -p.gather(1, observed).clamp(max=1).log().mean()
