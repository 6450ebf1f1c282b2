"""Reliability diagram of classes: how often the likeliest class is right, by confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesnn.calibration.class_calibration import top_label_calibration_error
from bayesnn.calibration.class_inputs import checked_labels, checked_probabilities
from bayesnn.calibration.confidence_bins import equal_width_bins
from bayesnn.calibration.plots.canvas import GREY, binomial_band, blank_figure, unit_square

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor


def plot_class_reliability(
    y: ArrayLike | Tensor, probabilities: ArrayLike | Tensor, *, n_bins: int = 15
) -> Figure:
    """Draw the share of right answers over confidence, and how many points stand behind it.

    On the diagonal confidence is what it claims to be; below it, predictions are too sure of
    themselves. Grey bars hold 95 % of calibrated predictions in each bin; bins are those of
    `top_label_calibration_error`, which the title quotes.

    Args:
        y: observed classes, numbers of columns, [n].
        probabilities: predicted, [n, classes].
        n_bins: number of bins of equal width.

    Returns:
        A matplotlib figure, which belongs to no window: save it with `savefig`.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities, unknown classes, or
            fewer than 1 bin.

    Example:
        >>> figure = plot_class_reliability([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> figure.axes[0].get_title()
        'Likeliest of 2 classes: 2 points, calibration error 0.450'
    """
    p = checked_probabilities(probabilities)
    labels = checked_labels(y, p, "probabilities")
    confidence, predicted = p.max(1)
    bins = equal_width_bins(confidence, predicted == labels, n_bins)
    error = float(top_label_calibration_error(labels, p, n_bins=n_bins))
    filled = bins.count > 0
    at, right = bins.confidence[filled].numpy(), bins.accuracy[filled].numpy()
    count = bins.count[filled].numpy()

    figure = blank_figure(height=6.6)
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    unit_square(axes, xlabel="", ylabel="share that is right", below="below: too sure of itself")
    lower, upper = binomial_band(count, at)
    axes.bar(
        at,
        upper - lower,
        bottom=lower,
        width=0.7 / n_bins,
        color=GREY,
        label="95 % of calibrated ones",
    )
    axes.plot(at, right, color="C0", marker="o", markersize=4, label="this prediction")
    axes.set_title(
        f"Likeliest of {p.shape[1]} classes: {len(p):,} points, calibration error {error:.3f}",
        fontsize=9,
    )
    axes.legend(loc="best", fontsize=8)
    edges = np.linspace(0, 1, n_bins + 1)
    below.bar(edges[:-1], bins.count.numpy(), width=1 / n_bins, align="edge", color="C0")
    below.set(xlabel="confidence: probability of the likeliest class", ylabel="points")
    return figure
