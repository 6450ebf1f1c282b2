"""The figure of a comparison: two distributions, and their differences with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ensembles.validation.report import Curves, Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_REFERENCE, _ENSEMBLE, _NEAR, _FAR = "#444444", "#c44e1c", "#1c6ec4", "#c44e1c"


def draw(report: Validation) -> Figure:
    """Return the figure of a report."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # no pyplot: nothing global is touched, and no display is needed
    figure = Figure(figsize=(6.4, 8.0), layout="constrained")
    FigureCanvasAgg(figure)
    curves = report.curves
    top, ratio, error = figure.subplots(3, 1, height_ratios=(2.0, 1.2, 1.2), sharex=True)
    place = np.array(curves.reference_std if curves.x is None else curves.x)
    top.set_title(f"{report.n_members} members against {report.distribution}")
    if curves.x is None:
        _scatter_means(top, curves, place)
        error.set_xlabel("reference standard deviation")
    else:
        _draw_bands(top, curves, place)
        error.set_xlabel("x")
    _draw_ratio(ratio, report, place)
    _draw_error(error, report, place)
    return figure


def _draw_bands(axes: Axes, curves: Curves, x: Array) -> None:
    order = np.argsort(x)
    pairs = (
        ("reference", _REFERENCE, curves.reference_mean, curves.reference_std),
        ("ensemble", _ENSEMBLE, curves.mean, curves.std),
    )
    for name, colour, mean, std in pairs:
        middle, spread = np.array(mean)[order], 2 * np.array(std)[order]
        axes.fill_between(x[order], middle - spread, middle + spread, color=colour, alpha=0.2)
        axes.plot(x[order], middle, color=colour, label=f"{name}: mean ± 2 sd")
    if curves.data is not None:
        axes.plot(*curves.data, "k.", label="data")
    axes.set_ylabel("f(x)")
    axes.legend(fontsize="small")


def _scatter_means(axes: Axes, curves: Curves, place: Array) -> None:
    middle = np.array(curves.reference_mean)
    axes.errorbar(place, middle, 2 * place, fmt="o", color=_REFERENCE, alpha=0.5, ms=3,
                  label="reference: mean ± 2 sd")  # fmt: skip
    axes.errorbar(place, curves.mean, 2 * np.array(curves.std), fmt="o", color=_ENSEMBLE,
                  alpha=0.5, ms=3, label="ensemble: mean ± 2 sd")  # fmt: skip
    axes.set_ylabel("f(x)")
    axes.legend(fontsize="small")


def _draw_ratio(axes: Axes, report: Validation, place: Array) -> None:
    ratio = np.array(report.curves.std) / np.array(report.curves.reference_std)
    bar = ratio / np.sqrt(2 * (report.n_members - 1))
    axes.axhspan(0.9, 1.1, color="0.92")
    axes.axhline(1.0, color="0.5", lw=0.8)
    _bars(axes, report.curves, place, ratio, bar)
    axes.set_ylabel("sd / reference sd")


def _draw_error(axes: Axes, report: Validation, place: Array) -> None:
    curves = report.curves
    reference = np.array(curves.reference_std)
    error = (np.array(curves.mean) - np.array(curves.reference_mean)) / reference
    bar = np.array(curves.std) / reference / np.sqrt(report.n_members)
    axes.axhline(0.0, color="0.5", lw=0.8)
    _bars(axes, curves, place, error, bar)
    axes.set_ylabel("(mean − reference) / sd")


def _bars(axes: Axes, curves: Curves, place: Array, value: Array, bar: Array) -> None:
    if curves.near is None:
        axes.errorbar(place, value, bar, fmt=".", color=_FAR)
        return
    near = np.array(curves.near)
    for name, colour, which in (("near data", _NEAR, near), ("far", _FAR, ~near)):
        if which.any():
            axes.errorbar(place[which], value[which], bar[which], fmt=".", color=colour, label=name)
    axes.legend(fontsize="small")
