"""What the plots draw: lines, bands, numbers of points and words."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bayesnn.calibration import (
    pit_gaussian,
    plot_class_reliability,
    plot_error_size,
    plot_interval_reliability,
    plot_pit_histogram,
    plot_risk_coverage,
    risk_coverage_curve,
    top_label_calibration_error,
)
from bayesnn.predictive import Predictive
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def line(figure: Figure, label: str) -> np.ndarray:
    """The points of the one line whose label begins so."""
    (found,) = [one for one in figure.axes[0].lines if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_xydata())


def words(figure: Figure) -> str:
    """Titles, labels and legends of all panels."""
    parts = []
    for axes in figure.axes:
        parts += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
        parts += [one.get_text() for one in axes.texts]
        legend = axes.get_legend()
        parts += [one.get_text() for one in legend.get_texts()] if legend else []
    return " | ".join(parts)


def regression(n: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(0)
    mean, z, log_std = torch.randn(3, n, generator=generator, dtype=torch.float64)
    return mean + 1.5 * z * log_std.exp(), mean, log_std.exp()


def classes(n: int = 300) -> tuple[Tensor, Tensor]:
    generator = seeded_generator(1)
    p = torch.randn(n, 4, generator=generator, dtype=torch.float64).softmax(-1)
    return torch.multinomial(p, 1, generator=generator).squeeze(1), p


def test_class_reliability_shows_accuracy_over_confidence() -> None:
    y, p = classes()
    figure = plot_class_reliability(y, p, n_bins=10)
    confidence, predicted = (part.numpy() for part in p.max(1))
    right = predicted == y.numpy()
    number = np.ceil(confidence * 10) - 1
    want = [(confidence[number == b].mean(), right[number == b].mean()) for b in np.unique(number)]
    np.testing.assert_allclose(line(figure, "this prediction"), want)
    assert line(figure, "ideal").tolist() == [[0, 0], [1, 1]]
    counts = [bar.get_height() for bar in figure.axes[1].patches]
    assert counts == [(number == b).sum() for b in range(10)]
    for bar, (at, _) in zip(figure.axes[0].patches, want, strict=True):
        n = (number == np.ceil(at * 10) - 1).sum()
        ends = stats.binom.ppf([0.025, 0.975], n, at) / n
        assert [bar.get_y(), bar.get_y() + bar.get_height()] == pytest.approx(list(ends))
        assert bar.get_x() + bar.get_width() / 2 == pytest.approx(at)
    error = float(top_label_calibration_error(y, p, n_bins=10))
    said = words(figure)
    for part in ("4 classes", "300 points", f"error {error:.3f}", "share that is right", "95 %"):
        assert part in said
    assert "confidence: probability of the likeliest class" in said
    assert "below: too sure of itself" in said


def test_interval_reliability_shows_coverage_over_level_and_width() -> None:
    y, mean, std = regression()
    post = Predictive(mean=mean, epistemic_variance=std.square(), noise_variance=0.0)
    figure = plot_interval_reliability(y, post.interval, units="MPa")
    drawn = line(figure, "this prediction")
    standardised = ((y - mean) / std).abs().numpy()
    for level, covered in drawn:
        assert covered == (standardised <= stats.norm.ppf(0.5 + level / 2)).mean()
    assert line(figure, "ideal").tolist() == [[0, 0], [1, 1]]
    (band,) = figure.axes[0].collections
    edge = np.asarray(band.get_paths()[0].vertices)
    for level in drawn[:, 0]:
        ends = stats.binom.ppf([0.025, 0.975], 200, level) / 200
        found = edge[np.isclose(edge[:, 0], level), 1]
        assert [found.min(), found.max()] == pytest.approx(list(ends))
    (widths,) = figure.axes[1].lines
    half = stats.norm.ppf(0.5 + drawn[:, 0] / 2)
    np.testing.assert_allclose(widths.get_xydata()[:, 1], 2 * half * float(std.mean()))
    said = words(figure)
    for part in ("200 points", "claim to cover", "mean width (MPa)", "95 %", "too narrow"):
        assert part in said


def test_pit_histogram_shows_heights_relative_to_even() -> None:
    pit = pit_gaussian(*regression())
    figure = plot_pit_histogram(pit, n_bins=8)
    (stairs,) = [one for one in figure.axes[0].patches if hasattr(one, "get_data")]
    want = [((pit >= b / 8) & (pit < (b + 1) / 8)).sum() * 8 / 200 for b in range(8)]
    np.testing.assert_allclose(stairs.get_data().values, want)
    np.testing.assert_allclose(stairs.get_data().edges, np.arange(9) / 8)
    assert line(figure, "ideal")[:, 1].tolist() == [1, 1]
    (band,) = [one for one in figure.axes[0].patches if one is not stairs]
    ends = stats.binom.ppf([0.025, 0.975], 200, 1 / 8) * 8 / 200
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx(list(ends))
    said = words(figure)
    for part in ("200 points, 8 bins", "too narrow", "too wide", "biased", "relative to even"):
        assert part in said


def test_observations_at_the_ends_of_the_histogram_are_counted() -> None:
    (stairs,) = [
        one
        for one in plot_pit_histogram([0.0, 1.0, 1.0], n_bins=2).axes[0].patches
        if hasattr(one, "get_data")
    ]
    np.testing.assert_allclose(stairs.get_data().values, [2 / 3, 4 / 3])


def test_risk_coverage_shows_the_curve_between_the_best_and_a_random_order() -> None:
    y, mean, std = regression()
    losses = (y - mean).abs()
    figure = plot_risk_coverage(losses, std, loss="absolute error (MPa)")
    for label, order in (("this order", std), ("ideal order", losses)):
        curve = risk_coverage_curve(losses, order)
        np.testing.assert_allclose(line(figure, label), np.stack([curve.coverage, curve.risk], 1))
    np.testing.assert_allclose(line(figure, "random order")[:, 1], float(losses.mean()))
    said = words(figure)
    for part in ("200 points", "absolute error (MPa) among the answered points", "95 % of random"):
        assert part in said
    assert f"this order: {float(risk_coverage_curve(losses, std).risk.mean()):.3g}" in said


def test_the_band_of_random_orders_holds_95_percent_of_them() -> None:
    losses = torch.rand(50, generator=seeded_generator(3), dtype=torch.float64)
    figure = plot_risk_coverage(losses, losses)
    (band,) = figure.axes[0].collections
    edge = np.asarray(band.get_paths()[0].vertices)
    rng = np.random.default_rng(0)
    for k in (10, 25, 40):
        means = [rng.permutation(losses.numpy())[:k].mean() for _ in range(2000)]
        found = edge[np.isclose(edge[:, 0], k / 50), 1]
        held = np.mean((found.min() <= means) & (means <= found.max()))
        assert held == pytest.approx(0.95, abs=0.02)


def test_error_size_shows_root_mean_squares_in_bins() -> None:
    y, mean, std = regression(205)
    figure = plot_error_size(y, mean, std, n_bins=10, units="MPa")
    order = std.argsort().numpy()
    error, spread = (y - mean).numpy(), std.numpy()
    sizes = [21] * 5 + [20] * 5
    starts = np.cumsum([0, *sizes])
    want = [
        [np.sqrt(np.mean(x[order[a : a + n]] ** 2)) for x in (spread, error)]
        for a, n in zip(starts, sizes, strict=False)
    ]
    np.testing.assert_allclose(line(figure, "this prediction"), want)
    ideal = line(figure, "ideal")
    assert np.array_equal(ideal[:, 0], ideal[:, 1])
    np.testing.assert_allclose(line(figure, "all points")[:, 1], np.sqrt(np.mean(error**2)))
    (band,) = figure.axes[0].collections
    for (x, _), n, ends in zip(want, sizes, band.get_segments(), strict=True):
        chi = np.sqrt(stats.chi2.ppf([0.025, 0.975], n) / n)
        np.testing.assert_allclose(ends, [[x, x * chi[0]], [x, x * chi[1]]])
    said = words(figure)
    for part in ("205 points, 10 bins of 20 or more", "predicted size", "σ (MPa)", "error (MPa)"):
        assert part in said
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"


def test_sizes_of_one_order_of_magnitude_are_not_logarithmic() -> None:
    y, mean, _ = regression()
    y = mean + torch.where(y > mean, 1.0, -1.0)
    figure = plot_error_size(y, mean, torch.linspace(0.9, 1.1, 200, dtype=torch.float64))
    assert figure.axes[0].get_xscale() == "linear"


def test_predictions_without_errors_are_drawn() -> None:
    figure = plot_error_size(torch.zeros(20), torch.zeros(20), torch.ones(20), n_bins=2)
    assert line(figure, "this prediction")[:, 1].tolist() == [0, 0]


def test_figures_can_be_saved_and_leave_no_global_state(tmp_path) -> None:
    """Every element fits: matplotlib warns, which is an error here, where it does not."""
    y, mean, std = regression(40)
    labels, p = classes(40)
    post = Predictive(mean=mean, epistemic_variance=std.square(), noise_variance=0.0)
    figures = [
        plot_class_reliability(labels, p),
        plot_interval_reliability(y, post.interval),
        plot_pit_histogram(pit_gaussian(y, mean, std)),
        plot_risk_coverage((y - mean).abs(), std),
        plot_error_size(y, mean, std),
        plot_risk_coverage([1.0], [0.0]),
    ]
    for i, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{i}.png", dpi=40)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_matplotlib_is_not_loaded_before_something_is_drawn() -> None:
    code = (
        "import sys; from bayesnn.calibration import plot_risk_coverage; "
        "assert 'matplotlib' not in sys.modules; plot_risk_coverage([0.5], [0]); "
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pit: expected probabilities in \[0, 1\]"):
        plot_pit_histogram([0.5, 1.5])
    with pytest.raises(ValueError, match="n_bins"):
        plot_pit_histogram([0.5], n_bins=0)
    with pytest.raises(ValueError, match="logits need a softmax"):
        plot_class_reliability([0], [[3.0, -1.0]])
    with pytest.raises(ValueError, match="uncertainty: expected 2 values"):
        plot_risk_coverage([0.0, 1.0], [0.5])
    with pytest.raises(ValueError, match="std: expected values above 0"):
        plot_error_size([0.0, 1.0], [0.0, 0.0], [0.0, 1.0], n_bins=1)
    with pytest.raises(ValueError, match="expected at least 2 points a bin, got 3 for 2 bins"):
        plot_error_size([0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], n_bins=2)
