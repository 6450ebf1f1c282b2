"""The one figure of a reconstruction: what was measured, what came out, how sure, how wrong."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from bayesnn.files import atomic_write, check_writable
from ct.data.own_files import MARK
from ct.geometry import ImageGrid, Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ct.result import Reconstruction

_FORMATS = (".png", ".pdf", ".svg", ".jpg")
_COLUMNS = 3
_LEVEL = 0.95
_RESIDUAL_LIMIT = 4.0


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the figure.

    Attributes:
        title: what it shows.
        values: the image or the sinogram.
        limits: smallest and largest value of the colour scale.
        colours: name of the colour map.
        label: quantity and units, written at the colour bar.
        extent: left, right, bottom, top in the axes' units.
        axes: what the horizontal and the vertical axis are; empty for an image, whose scale a
            bar shows.
        extend: where values lie beyond the limits: "neither", "max" or "both".
    """

    title: str
    values: Float32[np.ndarray, "rows columns"]
    limits: tuple[float, float]
    colours: str
    label: str
    extent: tuple[float, float, float, float]
    axes: tuple[str, ...] = ()
    extend: str = "neither"


def reconstruction_panels(
    *,
    sinogram: Float32[np.ndarray, "views detectors"],
    truth: Float32[np.ndarray, "rows columns"],
    baseline: Float32[np.ndarray, "rows columns"],
    mean: Float32[np.ndarray, "rows columns"],
    std: Float32[np.ndarray, "rows columns"],
    grid: ImageGrid,
    scan: Scan,
    units: str,
    titles: tuple[str, str],
) -> list[Panel]:
    """Return sinogram, baseline and truth, then mean, standard deviation and error.

    Truth, baseline and mean share one grey scale, the truth's; the absolute error and the
    standard deviation share another, so that each can be read against the other.

    Args:
        sinogram: the measured line integrals.
        truth: the image that the sinogram was made from.
        baseline: a classical reconstruction.
        mean: the reconstruction.
        std: its uncertainty.
        grid: where the pixels are.
        scan: where the rays are.
        units: the image's units.
        titles: titles of the baseline's and of the mean's picture.

    Returns:
        Six panels, in reading order.
    """
    error = np.abs(mean - truth)
    top = float(np.quantile(np.concatenate([error.ravel(), std.ravel()]), 0.995))
    grey = _image_panel("truth", truth, grid, units)
    spread = _spread_panel(std, grid, units, top)
    return [
        _sinogram_panel(sinogram, scan, f"{units}·mm" if units else ""),
        replace(grey, title=titles[0], values=baseline),
        grey,
        replace(grey, title=titles[1], values=mean),
        spread,
        replace(spread, title="how wrong: |mean − truth|", values=error),
    ]


def slice_panels(
    *,
    one: Reconstruction,
    sinogram: Float32[np.ndarray, "views detectors"],
    residual: Float32[np.ndarray, "views detectors"],
    sinogram_units: str,
    title: str,
) -> list[Panel]:
    """Return sinogram, image and unexplained rest, and how sure the image is: no truth is known.

    Args:
        one: the reconstruction of one slice.
        sinogram: the measured line integrals.
        residual: what the image leaves unexplained of them, in units of the noise.
        sinogram_units: the sinogram's units; "" where it has none.
        title: title of the image.

    Returns:
        Three panels, and two more where there is a standard deviation.
    """
    units = one.metadata["units"]
    measured = _sinogram_panel(sinogram, one.scan, sinogram_units)
    panels = [
        measured,
        _image_panel(title, one.mean.numpy(), one.grid, units),
        replace(
            measured,
            title="unexplained: (y − A mean) / σ",
            values=residual,
            limits=(-_RESIDUAL_LIMIT, _RESIDUAL_LIMIT),
            colours="coolwarm",
            label="noise standard deviations",
            extend="both",
        ),
    ]
    if one.std is not None:
        std = one.std.numpy()
        lower, upper = one.interval(_LEVEL)
        spread = _spread_panel(std, one.grid, units, float(np.quantile(std, 0.995)))
        width = (upper - lower).numpy()
        panels += [
            spread,
            replace(
                spread,
                title=f"width of the {100 * _LEVEL:g} % intervals",
                values=width,
                limits=(0.0, float(np.quantile(width, 0.995))),
            ),
        ]
    return panels


def save_figure(path: str | os.PathLike[str], panels: list[Panel]) -> None:
    """Draw panels, three in a row, and save the picture, which appears only when it is whole.

    Args:
        path: the picture; its suffix decides the format.
        panels: such as those of `reconstruction_panels`.

    Raises:
        ValueError: the picture cannot be written, or its suffix names no format.
    """
    check_figure(path)
    figure = _draw(panels)
    write_picture(path, figure)


def write_picture(path: str | os.PathLike[str], figure: Figure) -> None:
    """Write a figure; the picture says in its metadata that it is ours.

    Args:
        path: the picture; its suffix decides the format.
        figure: what to write.

    Raises:
        ValueError: the picture cannot be written.
    """
    suffix = Path(path).suffix.lower()
    said: dict[str, Any] = {"metadata": {"Software" if suffix == ".png" else "Creator": MARK}}
    if suffix == ".jpg":
        said = {"pil_kwargs": {"comment": MARK.encode()}}
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150, **said)


def check_figure(path: str | os.PathLike[str]) -> None:
    """Refuse a picture that could not be written, before work starts.

    Args:
        path: the picture.

    Raises:
        ValueError: its folder cannot be written, or its suffix names no format.
    """
    target = check_writable(path)
    if target.suffix.lower() not in _FORMATS:
        raise ValueError(
            f"{target}: expected a picture's name, ending in {', '.join(_FORMATS)}; rename it."
        )


def _image_panel(
    title: str, values: Float32[np.ndarray, "rows columns"], grid: ImageGrid, units: str
) -> Panel:
    half_height, half_width = (n * grid.pixel_size / 2 for n in grid.shape)
    return Panel(
        title=title,
        values=values,
        limits=(float(values.min()), float(values.max())),
        colours="gray",
        label=units,
        extent=(-half_width, half_width, -half_height, half_height),
    )


def _spread_panel(
    std: Float32[np.ndarray, "rows columns"], grid: ImageGrid, units: str, top: float
) -> Panel:
    return replace(
        _image_panel("how sure: standard deviation", std, grid, units),
        limits=(0.0, top),
        colours="magma",
        extend="max",
    )


def _sinogram_panel(
    sinogram: Float32[np.ndarray, "views detectors"], scan: Scan, units: str
) -> Panel:
    positions = scan.detector_positions.tolist()
    angles = np.rad2deg(np.asarray(scan.angles))
    half_bin = scan.detector_spacing / 2
    half_step = float(angles[-1] - angles[0]) / (2 * max(len(angles) - 1, 1)) or 0.5
    return Panel(
        title=f"measured: sinogram, {scan.n_views} views",
        values=sinogram,
        limits=(float(sinogram.min()), float(sinogram.max())),
        colours="gray",
        label=units or "line integral",
        extent=(
            positions[0] - half_bin,
            positions[-1] + half_bin,
            float(angles[-1]) + half_step,
            float(angles[0]) - half_step,
        ),
        axes=("detector (mm)", "angle (°)"),
    )


def _draw(panels: list[Panel]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # no pyplot: nothing global is touched, and no display is needed
    columns = min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.8 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, panel in enumerate(panels):
        _draw_panel(figure, figure.add_subplot(rows, columns, place + 1), panel)
    return figure


def _draw_panel(figure: Figure, axes: Axes, panel: Panel) -> None:
    shown = axes.imshow(
        panel.values,
        cmap=panel.colours,
        vmin=panel.limits[0],
        vmax=panel.limits[1],
        extent=panel.extent,
        aspect="auto" if panel.axes else "equal",
        interpolation="nearest",
    )
    axes.set_title(panel.title, fontsize=11)
    if panel.axes:
        axes.set_box_aspect(1)
        axes.set_xlabel(panel.axes[0], fontsize=9)
        axes.set_ylabel(panel.axes[1], fontsize=9)
        axes.tick_params(labelsize=8)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        _draw_scale_bar(axes, panel.extent)
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03, extend=panel.extend)
    bar.set_label(panel.label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_linewidth(0.5)


def _draw_scale_bar(axes: Axes, extent: tuple[float, float, float, float]) -> None:
    left, right, bottom, top = extent
    # the largest 1, 2 or 5 times a power of ten below a quarter of the width
    power = 10.0 ** np.floor(np.log10((right - left) / 4))
    length = max(step * power for step in (1, 2, 5) if step * power <= (right - left) / 4)
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    axes.plot([x, x + length], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(x, y + 0.02 * (top - bottom), f"{length:g} mm", color="white", fontsize=8)
