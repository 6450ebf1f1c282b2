"""Histogram of probability integral transforms: where in their predictions observations fell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesnn.calibration.plots.canvas import GREY, IDEAL, binomial_band, blank_figure
from bayesnn.checks import as_finite_tensor, check_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor


def plot_pit_histogram(pit: ArrayLike | Tensor, *, n_bins: int = 20) -> Figure:
    """Draw how often observations fell into each part of their predictive distributions.

    Even heights are calibrated predictions. High ends mean that predictions are too narrow, a high
    middle that they are too wide, a slope that they are biased. The grey band holds 95 % of
    calibrated predictions in each bin, if errors of different points are independent.

    Args:
        pit: F_i(y_i), the predicted probabilities of values up to the observed ones, of any shape;
            see `pit_gaussian` and `pit_samples`.
        n_bins: number of bins of equal width.

    Returns:
        A matplotlib figure, which belongs to no window: save it with `savefig`.

    Raises:
        ValueError: values outside of [0, 1], or fewer than 1 bin.

    Example:
        >>> print(plot_pit_histogram([0.2, 0.4, 0.9]).axes[0].get_title())
        Observations in their predictions: 3 points, 20 bins
        high ends: too narrow; high middle: too wide; slope: biased
    """
    n_bins = check_count(n_bins, "n_bins")
    values = as_finite_tensor(pit, "pit", ndim=range(16)).flatten().cpu().numpy()
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"pit: expected probabilities in [0, 1], got values between {values.min():.3g} and "
            f"{values.max():.3g}."
        )
    n = len(values)
    counts, edges = np.histogram(values, bins=n_bins, range=(0, 1))
    lower, upper = binomial_band([n], [1 / n_bins])

    figure = blank_figure(height=4.0)
    axes = figure.add_subplot()
    axes.axhspan(
        lower[0] * n_bins,
        upper[0] * n_bins,
        color=GREY,
        linewidth=0,
        label="95 % of calibrated ones",
    )
    axes.axhline(1, color=IDEAL, linewidth=1, linestyle="--", label="ideal")
    heights = counts * n_bins / n
    axes.stairs(heights, edges, color="C0", linewidth=1.5, label="this prediction")
    axes.set(
        xlim=(0, 1),
        # room for the legend
        ylim=(0, 1.25 * max(float(heights.max()), float(upper[0]) * n_bins)),
        xlabel="predicted probability of a value up to the observed one",
        ylabel="observations, relative to even",
    )
    axes.set_title(
        f"Observations in their predictions: {n:,} points, {n_bins} bins\n"
        "high ends: too narrow; high middle: too wide; slope: biased",
        fontsize=9,
    )
    axes.legend(loc="upper center", fontsize=8, frameon=False, ncols=3)
    return figure
