"""Predicted standard deviations against the size of the errors that were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesnn.calibration.inputs import same_shaped
from bayesnn.calibration.plots.canvas import BAND, GREY, IDEAL, blank_figure, with_units
from bayesnn.checks import check_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor

_LOGARITHMIC_FROM = 10.0


def plot_error_size(
    y: ArrayLike | Tensor,
    mean: ArrayLike | Tensor,
    std: ArrayLike | Tensor,
    *,
    n_bins: int = 10,
    units: str = "",
) -> Figure:
    """Draw the size of errors over the size that was predicted for them, in bins of equal numbers.

    Root mean squares of y − m over those of σ, of points sorted by σ. On the diagonal errors are as
    large as predicted, above it larger; a flat row means that σ does not know where errors are
    large. The grey bars hold 95 % of calibrated predictions in each bin, if errors are independent
    and Gaussian (χ²). Points further left are sharper predictions.

    Args:
        y: what was observed, of any shape.
        mean: m, like `y`.
        std: σ, above 0, like `y`.
        n_bins: number of bins, at most one for two points.
        units: of y, for the axes.

    Returns:
        A matplotlib figure, which belongs to no window: save it with `savefig`.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0, or too few
            points for the bins.

    Example:
        >>> figure = plot_error_size([1.0, -1.0], [0.0, 0.0], [1.0, 1.0], n_bins=1)
        >>> figure.axes[0].get_title()
        'Errors by predicted size: 2 points, 1 bin of 2 or more'
    """
    y, mean, std = same_shaped(y=y, mean=mean, std=std)
    n, n_bins = y.numel(), check_count(n_bins, "n_bins")
    if not bool((std > 0).all()):
        raise ValueError(f"std: expected values above 0, got {float(std.min()):.3g}.")
    if n < 2 * n_bins:
        raise ValueError(f"n_bins: expected at least 2 points a bin, got {n} for {n_bins} bins.")
    predicted2 = std.double().square().flatten().cpu().numpy()
    order = np.argsort(predicted2, kind="stable")
    error2 = (y - mean).double().square().flatten().cpu().numpy()
    bins = np.array_split(order, n_bins)
    predicted = np.sqrt([predicted2[one].mean() for one in bins])
    actual = np.sqrt([error2[one].mean() for one in bins])
    lower, upper = _chi_band(predicted, np.array([len(one) for one in bins]))

    figure = blank_figure()
    axes = figure.add_subplot()
    axes.vlines(predicted, lower, upper, color=GREY, linewidth=7, label="95 % of calibrated ones")
    low, high = min(actual.min(), lower.min()), max(actual.max(), upper.max())
    ends = [0.9 * min(low, predicted.min()), 1.1 * max(high, predicted.max())]
    axes.plot(ends, ends, color=IDEAL, linewidth=1, linestyle="--", label="ideal")
    overall = float(np.sqrt(error2.mean()))
    axes.axhline(
        overall, color=IDEAL, linewidth=1, linestyle=":", label=f"all points: {overall:.3g}"
    )
    axes.plot(predicted, actual, color="C0", marker="o", markersize=4, label="this prediction")
    if ends[1] > _LOGARITHMIC_FROM * ends[0] > 0:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
    axes.set(
        xlim=ends,
        ylim=ends,
        xlabel=with_units("predicted size: root mean square of σ", units),
        ylabel=with_units("actual size: root mean square error", units),
    )
    axes.set_box_aspect(1)
    axes.text(
        0.97,
        0.04,
        "above: errors larger than predicted",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        color=IDEAL,
    )
    plural = "bin" if n_bins == 1 else "bins"
    axes.set_title(
        f"Errors by predicted size: {n:,} points, {n_bins} {plural} of {n // n_bins:,} or more",
        fontsize=9,
    )
    axes.legend(loc="best", fontsize=8)
    return figure


def _chi_band(predicted: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.stats import chi2

    tail = (1 - BAND) / 2
    ends = [np.sqrt(chi2.ppf(share, counts) / counts) for share in (tail, 1 - tail)]
    return predicted * ends[0], predicted * ends[1]
