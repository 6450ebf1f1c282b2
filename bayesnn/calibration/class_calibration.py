"""Calibration errors of class probabilities: by top label, by class, in equal bins, debiased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.calibration.class_inputs import checked_labels, checked_probabilities
from bayesnn.calibration.confidence_bins import ConfidenceBins, equal_mass_bins, equal_width_bins

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def top_label_calibration_error(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Tensor:
    """Mean distance of accuracy from confidence, in bins of equal width: the usual ECE.

    Σ_b (n_b/n)·|acc_b − conf_b|, with the largest probability as confidence, and its bins (0, 1/B],
    (1/B, 2/B], …: the ℓ1 norm of the top label's error. n points from the probabilities themselves
    do not score 0 but about Σ_b √(2·n_b·conf_b(1 − conf_b)/π)/n, which grows as √(B/n); errors of
    both signs within a bin cancel. So compare equal n and B alone; `debiased_calibration_error`
    takes the first of these biases away.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: [n, classes]; rows sum to 1.
        n_bins: B.

    Returns:
        The error in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, unknown classes, or
            fewer than 1 bin.

    Source:
        Guo, Pleiss, Sun, Weinberger, ICML 2017, arXiv 1706.04599, equation 3.

    Example:
        >>> p = [[0.75, 0.25], [0.75, 0.25]]
        >>> float(top_label_calibration_error([0, 1], p))
        0.25
    """
    confidence, right = _top_label(y, probabilities)
    return _mean_gap(equal_width_bins(confidence, right, n_bins)).to(confidence)


def adaptive_calibration_error(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Tensor:
    """Mean distance of accuracy from confidence, in bins of equally many points.

    As `top_label_calibration_error`, ℓ1 norm and small-sample bias included, but no bin is nearly
    empty, and where confidences crowd near 1 the bins are narrow. Equal confidences share a bin.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: [n, classes]; rows sum to 1.
        n_bins: number of bins, at most n.

    Returns:
        The error in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, unknown classes, or
            fewer than 1 bin or more than points.

    Source:
        Nixon, Dusenberry, Jerfel, Tran, Zhang, CVPR workshops 2019, arXiv 1904.01685, of the top
        label alone.

    Example:
        >>> p = [[0.75, 0.25], [0.75, 0.25], [1.0, 0.0]]
        >>> round(float(adaptive_calibration_error([0, 1, 0], p, n_bins=2)), 4)
        0.1667
    """
    confidence, right = _top_label(y, probabilities)
    return _mean_gap(equal_mass_bins(confidence, right, n_bins)).to(confidence)


def classwise_calibration_error(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Tensor:
    """Mean over the classes of the distance of each one's frequency from its probability.

    (1/C) Σ_c Σ_b (n_cb/n)·|freq_cb − prob_cb|: the ℓ1 norm in bins (0, 1/B], (1/B, 2/B], … of the
    class's own probability, all points counting for every class. It sees errors of classes that are
    not on top. Small samples enlarge it as they do `top_label_calibration_error`; with many classes
    most probabilities are near 0, and so is the error.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: [n, classes]; rows sum to 1.
        n_bins: B.

    Returns:
        The error in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, unknown classes, or
            fewer than 1 bin.

    Source:
        Kull et al., NeurIPS 2019, arXiv 1910.12656, equation 3.

    Example:
        >>> p = [[0.75, 0.25], [0.75, 0.25]]
        >>> float(classwise_calibration_error([0, 0], p))
        0.25
    """
    p = checked_probabilities(probabilities)
    labels = checked_labels(y, p, "probabilities")
    gaps = [
        _mean_gap(equal_width_bins(column, labels == c, n_bins))
        for c, column in enumerate(p.unbind(1))
    ]
    return torch.stack(gaps).mean().to(p)


def debiased_squared_calibration_error(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Tensor:
    """Squared ℓ2 calibration error of the top label, without the bias of small samples.

    Σ_b (n_b/n)·((acc_b − conf_b)² − acc_b(1 − acc_b)/(n_b − 1)) in bins of equally many points: the
    second term is the variance of acc_b, which the square alone would count as an error. Where
    confidences are equal within a bin this is unbiased, so a calibrated prediction scores 0 on
    average, and single figures fall below 0. Where they spread within a bin, it is the error of
    the confidences rounded to the bin's mean, which is at most the whole one.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: [n, classes]; rows sum to 1.
        n_bins: number of bins, at most n/2; bins that ties leave with one point count as 0.

    Returns:
        The squared error, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, unknown classes, or
            fewer than 1 bin or more than one for two points.

    Source:
        Kumar, Liang, Ma, NeurIPS 2019, arXiv 1909.10155, definition 5.1.

    Example:
        >>> p = [[0.5, 0.5], [0.5, 0.5]]
        >>> float(debiased_squared_calibration_error([0, 1], p, n_bins=1))
        -0.25
    """
    confidence, right = _top_label(y, probabilities)
    if 2 * n_bins > len(right):
        raise ValueError(
            f"n_bins: expected at least two points a bin, got {n_bins} bins for {len(right)} "
            "points; a bin of one point has no variance to take away."
        )
    bins = equal_mass_bins(confidence, right, n_bins)
    variance = bins.accuracy * (1 - bins.accuracy) / (bins.count - 1).clamp(min=1)
    squares = (bins.accuracy - bins.confidence).square() - variance
    return (bins.share * torch.where(bins.count > 1, squares, 0.0)).sum().to(confidence)


def debiased_calibration_error(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Tensor:
    """ℓ2 calibration error of the top label, from its debiased square.

    √max(0, `debiased_squared_calibration_error`). The root brings some bias back: about half of all
    calibrated predictions score 0, the others more. Average squares, not roots, over repeats.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: [n, classes]; rows sum to 1.
        n_bins: number of bins, at most n/2.

    Returns:
        The error in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: as for `debiased_squared_calibration_error`.

    Source:
        Kumar, Liang, Ma, NeurIPS 2019, arXiv 1909.10155.

    Example:
        >>> p = [[1.0, 0.0], [1.0, 0.0]]
        >>> float(debiased_calibration_error([1, 1], p, n_bins=1))
        1.0
    """
    return debiased_squared_calibration_error(y, probabilities, n_bins=n_bins).clamp(min=0).sqrt()


def _top_label(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    p = checked_probabilities(probabilities)
    labels = checked_labels(y, p, "probabilities")
    confidence, predicted = p.max(1)
    return confidence, predicted == labels


def _mean_gap(bins: ConfidenceBins) -> Float[Tensor, ""]:
    return (bins.share * (bins.accuracy - bins.confidence).abs()).sum()
