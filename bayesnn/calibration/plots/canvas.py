"""What all plots share: a figure without global state, the ideal line, the band of chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

BAND = 0.95
"""Share of calibrated predictions that a band of chance holds, at each place."""
GREY, IDEAL = "0.85", "0.45"


def blank_figure(*, width: float = 5.0, height: float = 5.0) -> Figure:
    """Return an empty figure that no window and no global list of figures knows of.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        The figure, which can be saved, and shown by notebooks.

    Example:
        >>> blank_figure().axes
        []
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def unit_square(axes: Axes, *, xlabel: str, ylabel: str, below: str = "") -> None:
    """Draw the diagonal of a reliability diagram, from (0, 0) to (1, 1).

    Args:
        axes: where to draw.
        xlabel: what is claimed.
        ylabel: what is kept.
        below: what a curve below the diagonal means, written there.

    Example:
        >>> axes = blank_figure().add_subplot()
        >>> unit_square(axes, xlabel="claimed", ylabel="kept")
        >>> len(axes.lines)
        1
    """
    axes.plot([0, 1], [0, 1], color=IDEAL, linewidth=1, linestyle="--", label="ideal")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=xlabel, ylabel=ylabel)
    axes.set_box_aspect(1)
    if below:
        axes.text(0.97, 0.04, below, ha="right", fontsize=8, color=IDEAL)


def binomial_band(
    counts: ArrayLike, probabilities: ArrayLike
) -> tuple[Float64[np.ndarray, "*shape"], Float64[np.ndarray, "*shape"]]:
    """Return the shares between which 95 % of binomial shares lie, at least.

    Args:
        counts: numbers of independent trials, above 0.
        probabilities: of each.

    Returns:
        Lower and upper ends.

    Example:
        >>> lower, upper = binomial_band([100], [0.5])
        >>> float(lower[0]), float(upper[0])
        (0.4, 0.6)
    """
    from scipy.stats import binom

    tail = (1 - BAND) / 2
    n = np.asarray(counts, dtype=np.float64)
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 0, 1)
    return binom.ppf(tail, n, p) / n, binom.ppf(1 - tail, n, p) / n


def with_units(label: str, units: str) -> str:
    """Return an axis label with its units in brackets.

    Args:
        label: of the axis.
        units: empty for none.

    Returns:
        The label.

    Example:
        >>> with_units("mean width", "MPa"), with_units("mean width", "")
        ('mean width (MPa)', 'mean width')
    """
    return f"{label} ({units})" if units else label
