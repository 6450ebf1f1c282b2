"""Figures: accuracy against confidence, entropy in and out of distribution, and by corruption."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bayesnn.calibration.plots.canvas import blank_figure
from bayesnn.files import atomic_write
from benchmarks.image_classes.corruptions import LEVELS, STRENGTHS
from benchmarks.image_classes.functions import CLASSES
from benchmarks.image_classes.scores import BINS, CONFIDENCES, COVERAGES
from benchmarks.image_classes.summary import FAMILY, Records, corruption, mean_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figures(records: Records, folder: Path, name: str, target: str) -> list[Path]:
    """Draw all figures; return their files.

    Args:
        records: by method and split.
        folder: where to.
        name: how their names begin.
        target: the images out of distribution that are drawn.
    """
    drawn = {method: splits for method, splits in records.items() if method != FAMILY}
    made = {
        "confidence": confidence(drawn, target),
        "histograms": histograms(drawn, target),
        "corruption": by_corruption(drawn),
    }
    paths = []
    for part, figure in made.items():
        paths.append(folder / f"{name}_{part}.png")
        with atomic_write(paths[-1]) as temporary:
            figure.savefig(temporary, dpi=120, format="png")
    return paths


def confidence(records: Records, target: str) -> Figure:
    """Draw accuracy above each confidence, and risk by coverage."""
    figure = blank_figure(width=11.0, height=4.6)
    left, right = figure.subplots(1, 2)
    for place, (method, splits) in enumerate(records.items()):
        style = {"color": f"C{place % 10}", "linestyle": "-" if place < 10 else "--"}
        shares = [r["accuracy_by_confidence"].get(target) for r in splits.values()]
        known = [[math.nan if v is None else v for v in one] for one in shares if one]
        if known:
            left.plot(CONFIDENCES, np.mean(known, axis=0), label=method, **style)
        risk = np.mean([r["risks"] for r in splits.values()], axis=0)
        right.plot(COVERAGES, 100 * risk, label=method, **style)
    left.set(
        xlabel="confidence of at least", ylabel="share of these answers that is right",
        title=f"test images and {target} in equal parts",
    )  # fmt: skip
    right.set(
        xlabel="share of the test images that is answered", ylabel="errors among them, %",
        title="the most confident first",
    )  # fmt: skip
    right.set_yscale("symlog", linthresh=0.1)
    left.legend(fontsize="x-small")
    return figure


def histograms(records: Records, target: str) -> Figure:
    """Draw the entropy of test images and of others, a panel a method."""
    columns = min(4, len(records))
    rows = math.ceil(len(records) / columns)
    figure = blank_figure(width=2.9 * columns, height=2.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    edges = np.linspace(0, math.log(CLASSES), BINS + 1)
    for axes, (method, splits) in zip(panels, records.items(), strict=False):
        for images, colour in (("test", "C0"), (target, "C3")):
            found = [r["histogram"][images] for r in splits.values() if images in r["histogram"]]
            if found:
                axes.stairs(
                    np.mean(found, axis=0), edges, fill=True, alpha=0.5, color=colour, label=images
                )
        axes.set_title(method, fontsize="small")
    for axes in panels:
        axes.set_visible(False)
    first = figure.axes[0]
    first.legend(fontsize="x-small")
    figure.supxlabel("entropy of the class, nats", fontsize="small")
    figure.supylabel("share of the images", fontsize="small")
    return figure


def by_corruption(records: Records) -> Figure:
    """Draw accuracy and mean entropy over the strength of each corruption."""
    figure = blank_figure(width=12.0, height=5.6)
    panels = figure.subplots(2, len(LEVELS), sharex=True, sharey="row")
    for column, kind in enumerate(LEVELS):
        for row, score in enumerate(("accuracy", "entropy")):
            axes = panels[row][column]
            for place, (method, splits) in enumerate(records.items()):
                means = [mean_of(splits, corruption(kind, s, score)) for s in STRENGTHS]
                axes.plot(
                    STRENGTHS, [math.nan if one is None else one.value for one in means],
                    color=f"C{place % 10}", linestyle="-" if place < 10 else "--", label=method,
                )  # fmt: skip
            axes.set_xticks(STRENGTHS)
        panels[0][column].set_title(kind)
        panels[1][column].set_xlabel("strength")
    panels[0][0].set_ylabel("accuracy")
    panels[1][0].set_ylabel("mean entropy, nats")
    panels[0][0].legend(fontsize="x-small")
    return figure
