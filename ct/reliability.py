"""The reliability diagram of a result: how often its intervals cover rays that were held out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bayesnn.calibration.plots.canvas import blank_figure, unit_square
from ct.figure import check_figure, write_picture
from ct.result_metadata import Metadata

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_reliability(path: str | os.PathLike[str], metadata: Metadata) -> None:
    """Draw the shares of held-out rays that intervals cover over the levels that they claim.

    One line a slice; on the diagonal intervals hold what they claim, below it they are too narrow.
    The numbers stand in the result's metadata, as "held_out_coverage".

    Args:
        path: the picture; its suffix decides the format.
        metadata: of a `Reconstruction`.

    Raises:
        ValueError: no views were held out, or the picture cannot be written.

    Example:
        >>> save_reliability("r.png", {"held_out_coverage": [None]})
        Traceback (most recent call last):
        ...
        ValueError: held_out_coverage: no ray was held out in this result; ...
    """
    curves = [one for one in metadata.get("held_out_coverage") or [] if one]
    if not curves:
        raise ValueError(
            "held_out_coverage: no ray was held out in this result; reconstruct with a method that "
            "holds views out, such as jackknife, from views enough to spare some."
        )
    check_figure(path)
    figure = _draw(curves, metadata.get("calibration", ""))
    write_picture(path, figure)


def _draw(curves: list[dict[str, float]], calibration: str) -> Figure:
    figure = blank_figure(width=4.2, height=4.4)
    axes = figure.add_subplot()
    unit_square(
        axes,
        xlabel="share that intervals claim to cover",
        ylabel="share of held-out rays that they cover",
    )
    for curve in curves:
        levels = sorted(float(level) for level in curve)
        axes.plot(
            [0.0, *levels],
            [0.0, *(curve[f"{level:g}"] for level in levels)],
            color="C0",
            linewidth=1.2,
            alpha=max(0.15, 1 / len(curves)),
            marker="." if len(curves) == 1 else None,
        )
    axes.set_title(calibration, fontsize=8, wrap=True)
    return figure
