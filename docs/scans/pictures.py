"""Images side by side on one grey scale, saved as a small picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from bayesnn.files import atomic_write
from ct.result import Reconstruction


def save_pictures(path: Path, images: dict[str, Float[Tensor, "rows columns"]]) -> None:
    """Draw images in rows of three; all share the 0.5 and 98.5 % quantiles of the last one.

    Args:
        path: the picture to write.
        images: by title.
    """
    last = list(images.values())[-1].numpy()
    low, high = np.quantile(last, [0.005, 0.985])
    rows = -(-len(images) // 3)
    figure = Figure(figsize=(9.6, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, 3, squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    for axes, (title, image) in zip(figure.axes, images.items(), strict=False):
        axes.imshow(image.numpy(), cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title, fontsize=10)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=75)


def save_uncertainty(path: Path, result: Reconstruction) -> None:
    """Draw mean, standard deviation and width of the 95 % intervals, each with its own scale.

    Args:
        path: the picture to write.
        result: one slice, with error bars.
    """
    lower, upper = result.interval(0.95)
    if result.std is None:
        raise ValueError("result: expected error bars, got none.")
    images = {
        "mean": (result.mean, "gray"),
        "standard deviation": (result.std, "viridis"),
        "width of 95 % intervals": (upper - lower, "viridis"),
    }
    figure = Figure(figsize=(10.8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, (image, colours)) in zip(
        figure.subplots(1, len(images)), images.items(), strict=True
    ):
        values = image.cpu().numpy()
        low, high = np.quantile(values, [0.005, 0.995])
        axes.set_axis_off()
        axes.set_title(title, fontsize=10)
        shown = axes.imshow(values, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
        figure.colorbar(shown, ax=axes, shrink=0.8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=75)
