"""The figure of one problem: errors against width."""

from __future__ import annotations

from pathlib import Path

from bayesnn.files import atomic_write
from benchmarks.width.excess import Estimate

COLOURS = {"near": "#1c6ec4", "far": "#c44e1c", "all": "#444444"}
Series = dict[str, list[tuple[int, Estimate | None]]]  # by part of the points: width, estimate


def save_figure(path: Path, title: str, mean: Series, ratio: Series, floor: list[float]) -> None:
    """Draw the mean's error beyond Monte Carlo's, and the ratio of standard deviations.

    Args:
        path: the picture.
        title: its title.
        mean: errors of the mean; None where it is not seen.
        ratio: ratios of standard deviations, averaged over points.
        floor: root mean square error of the mean of exact samples, at each width.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, fontsize="medium")
    for axes, series in ((left, mean), (right, ratio)):
        for shift, (part, points) in zip((1.0, 0.97, 1.03), series.items(), strict=False):
            seen = [(w * shift, *one) for w, one in points if one is not None]
            if seen:
                place, value, bar = zip(*seen, strict=True)
                axes.errorbar(place, value, bar, fmt="o-", color=COLOURS[part], label=part)
    widths = [w for w, _ in next(iter(mean.values()))]
    left.plot(widths, floor, "k:", label="Monte-Carlo floor")
    left.set(xscale="log", yscale="log", xlabel="width")
    left.set_ylabel("rms error of the mean beyond it, posterior sd")
    right.axhspan(0.9, 1.1, color="0.92")
    right.axhline(1.0, color="0.5", lw=0.8)
    right.set(xscale="log", xlabel="width", ylabel="sd / posterior sd, average over points")
    for axes in (left, right):
        axes.legend(fontsize="small")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150)
