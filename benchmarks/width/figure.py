"""The figure of one problem: errors against width."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from bayesnn.files import atomic_write
from benchmarks.width.excess import Excess

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"near": "#1c6ec4", "far": "#c44e1c", "all": "#444444"}
Series = dict[str, list[tuple[int, float, Excess]]]  # by part of the points: width, floor, excess


def save_figure(path: Path, title: str, mean: Series, std: Series) -> None:
    """Draw both errors beyond Monte Carlo's against the width, with the floor as dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    figure.suptitle(title, fontsize="medium")
    _draw(axes[0], mean, "rms error of the mean, posterior sd")
    _draw(axes[1], std, "rms of (sd ratio − 1)")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw(axes: Axes, series: Series, label: str) -> None:
    for part, points in series.items():
        seen = [(w, e) for w, _, e in points if e.seen]
        roots = [math.sqrt(e.square) for _, e in seen]
        bars = [e.error / (2 * root) for (_, e), root in zip(seen, roots, strict=True)]
        axes.errorbar([w for w, _ in seen], roots, bars, fmt="o-", color=COLOURS[part], label=part)
    floors = next(iter(series.values()))
    axes.plot([w for w, *_ in floors], [f for _, f, _ in floors], "k:", label="Monte-Carlo floor")
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel=label)
    axes.legend(fontsize="small")
