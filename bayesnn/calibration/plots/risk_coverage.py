"""Risk–coverage curve: what is lost where the least certain points are left to somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bayesnn.calibration.plots.canvas import GREY, IDEAL, blank_figure
from bayesnn.calibration.selective_prediction import risk_coverage_curve
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor

_NORMAL = 1.959963984540054
"""Between minus this and this lies 95 % of a standard normal distribution."""


def plot_risk_coverage(
    losses: ArrayLike | Tensor, uncertainty: ArrayLike | Tensor, *, loss: str = "loss"
) -> Figure:
    """Draw the mean loss of the most certain points over their share of all points.

    Between the order that is best for these losses and a random one; the grey band holds 95 % of
    random orders at each coverage, by the variance of means of points drawn without replacement:
    an uncertainty whose curve stays in it has told nothing about the losses.

    Args:
        losses: of each point, such as 1 where a classifier is wrong and 0 where it is right, or a
            squared error, [n].
        uncertainty: of each point, [n].
        loss: what the losses are, with units, for the axis.

    Returns:
        A matplotlib figure, which belongs to no window: save it with `savefig`.

    Raises:
        ValueError: shapes that differ, or values that are not finite.

    Example:
        >>> figure = plot_risk_coverage([0.0, 1.0], [0.1, 0.9], loss="share of errors")
        >>> figure.axes[0].get_ylabel()
        'share of errors among the answered points'
    """
    curve = risk_coverage_curve(losses, uncertainty)
    values = as_finite_tensor(losses, "losses", ndim=(1,)).double().cpu()
    best = risk_coverage_curve(values, values)
    coverage, risk = curve.coverage.double().cpu().numpy(), curve.risk.double().cpu().numpy()
    n, mean = len(values), float(values.mean())
    answered = np.arange(1, n + 1)
    variance = float(values.var()) if n > 1 else 0.0
    spread = _NORMAL * np.sqrt(variance * (1 / answered - 1 / n))

    figure = blank_figure(height=4.2)
    axes = figure.add_subplot()
    axes.fill_between(
        coverage,
        np.maximum(mean - spread, float(values.min())),
        np.minimum(mean + spread, float(values.max())),
        color=GREY,
        linewidth=0,
        label="95 % of random orders",
    )
    axes.axhline(mean, color=IDEAL, linewidth=1, linestyle=":", label=f"random order: {mean:.3g}")
    axes.plot(
        coverage,
        best.risk.numpy(),
        color=IDEAL,
        linewidth=1,
        linestyle="--",
        label=f"ideal order: {float(best.risk.mean()):.3g}",
    )
    axes.plot(coverage, risk, color="C0", label=f"this order: {risk.mean():.3g}")
    axes.set(
        xlim=(0, 1),
        # chance among the first few points is left to the margin
        ylim=(min(0.0, float(values.min())), 1.3 * max(mean, float(risk[n // 20 :].max()))),
        xlabel="share of points that are answered, most certain first",
        ylabel=f"{loss} among the answered points",
    )
    axes.set_title(f"Risk and coverage: {n:,} points", fontsize=9)
    axes.legend(fontsize=8, framealpha=1, title="area under the curve", title_fontsize=8)
    return figure
