"""Intervals and sets are those of MAPIE, to 1e-6, from what `mapie_intervals.py` wrote down."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bayesnn.calibration import (
    AdaptiveSets,
    adaptive_scores,
    conformal_quantile,
    fit_conformal_quantiles,
    fit_jackknife_plus,
    fit_split_conformal,
)
from tests.reference.mapie_intervals import FOLDS, PATH

CASES = {k: np.array(v) for k, v in json.loads(PATH.read_text()).items()}
LEVEL = float(CASES["level"])


def test_split_intervals_and_conformal_quantiles() -> None:
    y, predicted = CASES["y"], CASES["predicted"].T
    fitted = fit_split_conformal(y, predicted[0, :30])
    got = np.stack(fitted.interval(predicted[0, 30:], level=LEVEL))
    np.testing.assert_allclose(got, CASES["split"], atol=1e-6)
    scale = predicted[2] - predicted[1]
    scaled = fit_split_conformal(y, predicted[0, :30], scale[:30])
    got = np.stack(scaled.interval(predicted[0, 30:], scale[30:], level=LEVEL))
    np.testing.assert_allclose(got, CASES["scaled"], atol=1e-6)
    moved = fit_conformal_quantiles(y, *predicted[1:, :30])
    got = np.stack(moved.interval(*predicted[1:, 30:], level=LEVEL))
    np.testing.assert_allclose(got, CASES["cqr"], atol=1e-6)


def left_out_lines(x: NDArray, y: NDArray, fold: NDArray) -> Iterator[NDArray]:
    for k in range(fold.max() + 1):
        yield np.linalg.lstsq(x[:25][fold != k], y[fold != k])[0]


@pytest.mark.parametrize(("name", "n_folds"), [("jackknife_plus", 25), ("cv_plus", FOLDS)])
def test_jackknife_plus(name: str, n_folds: int) -> None:
    x, y = np.column_stack([np.ones(33), CASES["design"]]), CASES["target"]
    fold = np.arange(25) // (25 // n_folds)
    members = np.stack([x @ weights for weights in left_out_lines(x, y, fold)])
    fitted = fit_jackknife_plus(y, members[fold, np.arange(25)], fold)
    got = np.stack(fitted.interval(members[:, 25:], level=LEVEL))
    np.testing.assert_allclose(got, CASES[name], atol=1e-6)


def test_adaptive_sets() -> None:
    """MAPIE randomises held-out scores always, the sets where it is asked to, by 1 less its u."""
    p, labels = CASES["probabilities"], torch.from_numpy(CASES["labels"])
    part = torch.from_numpy(1 - CASES["draws"])
    scores = adaptive_scores(p[:40], part).gather(1, labels[:, None]).flatten()
    fitted = AdaptiveSets(scores=scores, n_classes=4, randomised=False)
    assert np.array_equal(fitted.sets(p[40:], level=LEVEL), CASES["sets"].astype(bool))
    # its draws begin anew with each call
    drawn = adaptive_scores(p[40:], part[:10]) <= conformal_quantile(scores, LEVEL)
    assert np.array_equal(drawn, CASES["drawn_sets"].astype(bool))
