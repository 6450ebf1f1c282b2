"""Brier and logarithmic scores of class probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss
from torch import Tensor

from bayesnn.calibration import brier_score, log_score

SCORES = [brier_score, log_score]


def predictions(seed: int, n: int, classes: int) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, n), rng.dirichlet(np.ones(classes), n)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 20), classes=st.integers(2, 6))
def test_scores_are_their_definitions_and_scikit_learns(seed: int, n: int, classes: int) -> None:
    y, p = predictions(seed, n, classes)
    labels = list(range(classes))
    square = np.mean([((p[i] - np.eye(classes)[y[i]]) ** 2).sum() for i in range(n)])
    assert float(brier_score(y, p)) == pytest.approx(square, rel=1e-12)
    peer = brier_score_loss(y, p, labels=labels, scale_by_half=False)
    assert float(brier_score(y, p)) == pytest.approx(peer, abs=1e-6)
    assert float(log_score(y, p)) == pytest.approx(-np.mean(np.log(p[range(n), y])), rel=1e-12)
    assert float(log_score(y, p)) == pytest.approx(log_loss(y, p, labels=labels), abs=1e-6)


def test_of_two_classes_brier_is_twice_the_error_of_one() -> None:
    y, p = predictions(0, 30, 2)
    assert float(brier_score(y, p)) == pytest.approx(2 * np.mean((p[:, 1] - y) ** 2))


def test_extremes() -> None:
    certain = np.eye(3)
    assert [float(s([0, 1, 2], certain)) for s in SCORES] == [0, 0]
    assert [float(s([1, 2, 0], certain)) for s in SCORES] == [2, math.inf]
    assert float(log_score([0], [[1.0004, 0.0]])) == 0  # a rounded sum makes no negative score


def test_confidence_near_one_keeps_its_digits_in_float32() -> None:
    p = torch.tensor([[2.0**-20, 1 - 2.0**-20]])
    assert float(brier_score([1], p)) == pytest.approx(2 * 2.0**-40, rel=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_input_of_any_kind_gives_the_same(score: Callable[..., Tensor]) -> None:
    y, p = np.array([0, 1, 1]), np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]) * 0.5 + 0.25
    want = float(score(y, p))
    for kind in (torch.float16, torch.float32, torch.float64):
        assert float(score(torch.tensor(y), torch.tensor(p, dtype=kind))) == pytest.approx(want)
    assert float(score(y.astype(float).tolist(), p.tolist())) == pytest.approx(want)
    assert score(y, p.astype(np.float16)).dtype == torch.float32
    whole = score(y, np.array([[1, 0], [0, 1], [0, 1]]))
    assert float(whole) == 0


@pytest.mark.parametrize("score", SCORES)
def test_what_does_not_fit_is_refused(score: Callable[..., Tensor]) -> None:
    p = [[0.5, 0.5], [0.25, 0.75]]
    with pytest.raises(ValueError, match="probabilities: expected .* sum of 1.2"):  # noqa: RUF043
        score([0, 1], [[0.5, 0.5], [0.5, 0.7]])
    with pytest.raises(ValueError, match="probabilities: expected values of at least 0"):
        score([0, 1], [[0.5, 0.5], [1.5, -0.5]])
    with pytest.raises(ValueError, match="probabilities: expected finite"):
        score([0, 1], [[0.5, 0.5], [math.nan, 1.0]])
    with pytest.raises(ValueError, match="probabilities: expected 2 dimensions"):
        score([0, 1], [0.5, 0.5])
    for y in ([0, 2], [0, -1], [0, 0.5], [0], [[0], [1]], [0, math.nan]):
        with pytest.raises(ValueError, match="y: expected"):
            score(y, p)
