"""The figure of the UCI report: each method's NLL on each set, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bayesnn.files import atomic_write
from benchmarks.regression.uci_lead import PUBLISHED
from benchmarks.regression.uci_summary import BEST, SetSummary

OURS, OTHERS = "#1c6ec4", "#666666"
BEYOND = 3.0  # spreads of the better half, past which a method is drawn at the edge


def save_figure(path: Path, sets: Sequence[SetSummary]) -> None:
    """Draw mean NLL ± standard error; a method far off is drawn at the edge, with its number.

    Args:
        path: the picture.
        sets: one panel each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(sets), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, one in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        methods = one.methods()
        means = np.array([one.mean(method, "nll") for method in methods])
        middle = float(np.median(means))
        edge = middle + BEYOND * max(middle - float(means[0]), 0.05)
        for place, (method, mean) in enumerate(zip(methods, means, strict=True)):
            colour = OURS if "NTKGP" in method else OTHERS
            if mean > edge:
                axes.annotate(f"{mean:.1f} →", (edge, place), ha="right", va="center", fontsize=8)
            else:
                error = one.standard_error(method, "nll")
                axes.errorbar(mean, place, xerr=error, fmt="o", color=colour, ms=4)
        if one.name in PUBLISHED:
            axes.axvline(PUBLISHED[one.name], color="#c44e1c", ls="--", lw=1)
            axes.set_title(f"{one.name}\n(dashed: MC dropout, published)", fontsize=9)
        else:
            axes.set_title(one.name, fontsize=9)
        axes.set_yticks(range(len(methods)), methods, fontsize=8)
        for label, method in zip(axes.get_yticklabels(), methods, strict=True):
            label.set_fontweight("bold" if method == BEST else "normal")
        axes.invert_yaxis()
        axes.set_xlabel("test NLL, nats a row (lower is better)")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
