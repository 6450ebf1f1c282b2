"""Calibration errors of class probabilities: definitions, ties, and bias by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.calibration import (
    adaptive_calibration_error,
    classwise_calibration_error,
    debiased_calibration_error,
    debiased_squared_calibration_error,
    top_label_calibration_error,
)
from tests.reference import naive_calibration as naive

ERRORS = [
    top_label_calibration_error, adaptive_calibration_error, classwise_calibration_error,
    debiased_squared_calibration_error, debiased_calibration_error,
]  # fmt: skip
Error = Callable[..., Tensor]


def predictions(seed: int, n: int, classes: int, digits: int) -> tuple[NDArray, NDArray]:
    """Return classes and probabilities; few digits make ties, and confidences on bins' edges."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), n).round(digits)
    p[:, 0] += 1 - p.sum(1)
    p = np.abs(p) / np.abs(p).sum(1, keepdims=True)
    return rng.integers(0, classes, n), p


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(8, 40),
    classes=st.integers(2, 4),
    n_bins=st.integers(1, 4),
    digits=st.sampled_from([1, 12]),
)
def test_errors_are_their_definitions(
    seed: int, n: int, classes: int, n_bins: int, digits: int
) -> None:
    y, p = predictions(seed, n, classes, digits)
    confidence, right = p.max(1), p.argmax(1) == y
    even, wide = naive.equal_mass(confidence, n_bins), naive.equal_width(confidence, n_bins)
    square = naive.debiased_square(even, confidence, right)
    by_class = [
        naive.mean_gap(naive.equal_width(p[:, c], n_bins), p[:, c], y == c) for c in range(classes)
    ]
    wanted = [
        naive.mean_gap(wide, confidence, right), naive.mean_gap(even, confidence, right),
        np.mean(by_class), square, math.sqrt(max(square, 0)),
    ]  # fmt: skip
    for error, want in zip(ERRORS, wanted, strict=True):
        assert float(error(y, p, n_bins=n_bins)) == pytest.approx(want, abs=1e-12), error.__name__


def calibrated(n: int, confidences: list[float], seed: int) -> tuple[Tensor, Tensor]:
    """Return points whose top label is right as often as its probability, one of a few."""
    generator = torch.Generator().manual_seed(seed)
    top = torch.tensor(confidences, dtype=torch.float64).repeat(n // len(confidences))
    draws = torch.rand(len(top), generator=generator, dtype=torch.float64)
    return (draws >= top).long(), torch.stack([top, 1 - top], 1)


@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_the_debiased_square_is_right_on_average(offset: float) -> None:
    """Also of predictions that are overconfident by a known amount; the plain square is not."""
    confidences = [0.55, 0.6, 0.65, 0.7, 0.75]
    found, roots = [], []
    for seed in range(400):
        y, p = calibrated(100, confidences, seed)
        p = p + offset * torch.tensor([1.0, -1.0])
        found.append(float(debiased_squared_calibration_error(y, p, n_bins=5)))
        roots.append(float(debiased_calibration_error(y, p, n_bins=5)))
    standard_error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(offset**2, abs=3.5 * standard_error)
    variance = np.mean([c * (1 - c) / 20 for c in confidences])  # what the plain square adds
    assert variance > 10 * standard_error
    assert min(found) < 0
    assert roots == pytest.approx(np.sqrt(np.maximum(found, 0)))


def test_ece_of_calibrated_points_is_the_bias_that_it_states() -> None:
    confidences = [0.55, 0.65, 0.75, 0.85]
    n = 4000
    found = [
        float(top_label_calibration_error(*calibrated(n, confidences, seed), n_bins=10))
        for seed in range(100)
    ]
    in_bin = n / 4
    bias = sum(math.sqrt(2 * in_bin * c * (1 - c) / math.pi) for c in confidences) / n
    assert np.mean(found) == pytest.approx(bias, rel=0.1)


@pytest.mark.parametrize("error", ERRORS[:3])
def test_errors_that_are_known(error: Error) -> None:
    wrong = torch.tensor([[0.1, 0.9]], dtype=torch.float64).repeat(20, 1)
    assert float(error(torch.zeros(20), wrong)) == pytest.approx(0.9)
    assert float(error(torch.ones(20), wrong)) == pytest.approx(0.1)
    y = torch.tensor([0] * 2 + [1] * 18)
    assert float(error(y, wrong)) == pytest.approx(0, abs=1e-12)


def test_classwise_sees_what_the_top_label_does_not() -> None:
    """The two lower classes exchanged: the top label is as right as before."""
    p = torch.tensor([[0.6, 0.4, 0.0]], dtype=torch.float64).repeat(10, 1)
    y = torch.tensor([0] * 6 + [2] * 4)
    assert float(top_label_calibration_error(y, p)) == pytest.approx(0, abs=1e-12)
    assert float(classwise_calibration_error(y, p)) == pytest.approx(0.8 / 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_bins", [10, 15, 20])
def test_edges_belong_to_the_bin_below(dtype: torch.dtype, n_bins: int) -> None:
    """Just above an edge is another bin, where an error of the other sign does not cancel."""
    for k in range(n_bins // 2 + 1, n_bins):
        edge = torch.tensor(k / n_bins, dtype=torch.float64).to(dtype)
        below = edge - 0.3 / n_bins
        top = torch.stack([edge, below]).repeat(20)
        p = torch.stack([top, 1 - top], 1)
        right = torch.tensor([1, 0]).repeat(20)  # all at the edge right, all below wrong
        want = abs(0.5 - float(top.mean()))  # one bin: the errors cancel
        got = float(top_label_calibration_error(1 - right, p, n_bins=n_bins))
        assert got == pytest.approx(want, abs=1e-6), k


@pytest.mark.parametrize("error", ERRORS)
def test_certain_predictions_and_strided_memory(error: Error) -> None:
    p = torch.eye(2, dtype=torch.float64).repeat(20, 1)
    y = torch.tensor([0, 1] * 20)
    assert float(error(y, p)) == 0
    strided = torch.stack([p, p], -1)[..., 0]
    assert float(error(y, strided)) == 0
    assert error(y, p.float()).dtype == torch.float32


def test_bins_that_ties_leave_with_one_point_are_left_out() -> None:
    p = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    got = float(debiased_squared_calibration_error([0, 1, 1, 1], p, n_bins=2))
    accuracy = 1 / 3
    want = 0.75 * ((accuracy - 0.6) ** 2 - accuracy * (1 - accuracy) / 2)
    assert got == pytest.approx(want)


@pytest.mark.parametrize("error", ERRORS)
def test_what_does_not_fit_is_refused(error: Error) -> None:
    p = np.full((4, 2), 0.5)
    with pytest.raises(ValueError, match="n_bins: expected"):
        error([0, 1, 0, 1], p, n_bins=0)
    with pytest.raises(ValueError, match="y: expected classes from 0 to 1"):
        error([0, 1, 0, 2], p, n_bins=2)
    with pytest.raises(ValueError, match="probabilities: expected values of at least 0"):
        error([0, 1, 0, 1], 2 * p, n_bins=2)
    with pytest.raises(ValueError, match="probabilities: expected finite"):
        error([0, 1, 0, 1], p * math.inf, n_bins=2)


def test_more_bins_than_points_are_refused() -> None:
    p = np.full((4, 2), 0.5)
    with pytest.raises(ValueError, match="at most one bin a point, got 5 for 4"):
        adaptive_calibration_error([0, 1, 0, 1], p, n_bins=5)
    for error in ERRORS[3:]:
        with pytest.raises(ValueError, match="at least two points a bin, got 3 bins for 4"):
            error([0, 1, 0, 1], p, n_bins=3)
