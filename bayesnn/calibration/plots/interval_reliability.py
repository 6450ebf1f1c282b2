"""Reliability diagram of regression: how often intervals hold the truth, by level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from bayesnn.calibration.interval_scores import coverage, mean_width
from bayesnn.calibration.plots.canvas import (
    GREY,
    binomial_band,
    blank_figure,
    unit_square,
    with_units,
)
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

_LEVELS = (*(k / 20 for k in range(1, 20)), 0.99)


def plot_interval_reliability(
    y: ArrayLike | Tensor,
    interval_at: Callable[[float], tuple[Tensor, Tensor]],
    *,
    units: str = "",
) -> Figure:
    """Draw how many observations intervals cover over the level they claim, and their width.

    On the diagonal intervals hold what they claim; below it they are too narrow. The grey band
    holds 95 % of calibrated predictions at each level, if errors of different points are
    independent; the curve's places are not independent of one another. Coverage alone says little,
    so the mean width stands below.

    Args:
        y: what was observed, of any shape.
        interval_at: gives the (lower, upper) ends of the central interval at a level, each like
            `y`, such as `Predictive.interval`.
        units: of y, for the axis of the width.

    Returns:
        A matplotlib figure, which belongs to no window: save it with `savefig`.

    Raises:
        ValueError: as for `coverage`.

    Example:
        >>> import torch
        >>> from bayesnn.predictive import Predictive
        >>> unit = Predictive(
        ...     mean=torch.zeros(2), epistemic_variance=torch.ones(2), noise_variance=0.0
        ... )
        >>> plot_interval_reliability([0.3, -1.2], unit.interval, units="m").axes[1].get_ylabel()
        'mean width (m)'
    """
    observed = as_finite_tensor(y, "y", ndim=range(16))
    n = observed.numel()
    intervals = [interval_at(level) for level in _LEVELS]
    covered = [float(coverage(interval, observed)) for interval in intervals]
    widths = [float(mean_width(interval)) for interval in intervals]

    figure = blank_figure(height=6.6)
    axes, below = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    unit_square(
        axes,
        xlabel="",
        ylabel="share of observations that they cover",
        below="below: intervals too narrow",
    )
    lower, upper = binomial_band(np.full(len(_LEVELS), n), _LEVELS)
    axes.fill_between(
        _LEVELS, lower, upper, color=GREY, linewidth=0, label="95 % of calibrated ones"
    )
    axes.plot(_LEVELS, covered, color="C0", marker="o", markersize=3, label="this prediction")
    axes.set_title(f"Central intervals: {n:,} points", fontsize=9)
    axes.legend(loc="best", fontsize=8)
    below.plot(_LEVELS, widths, color="C0")
    below.set_ylim(bottom=0)
    below.set(xlabel="share that intervals claim to cover", ylabel=with_units("mean width", units))
    return figure
