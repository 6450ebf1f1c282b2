"""Images side by side on one grey scale, saved as a small picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from bayesnn.files import atomic_write


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
