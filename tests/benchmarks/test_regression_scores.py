import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from bayesnn import Predictive
from benchmarks.regression.densities import by_moments
from benchmarks.regression.normal_scores import with_normal_scores
from benchmarks.regression.scores import scores_of

Y = np.array([0.0, 1.0, -3.0, 0.5, 2.0, 0.1])
DISTANCE = np.array([3.0, 0.0, 5.0, 4.0, 1.0, 2.0])
COPIED = np.array([False, True, False, False, False, True])


@pytest.fixture
def scores():
    post = Predictive(
        mean=torch.zeros(6, dtype=torch.float64),
        epistemic_variance=torch.full((6,), 0.75, dtype=torch.float64),
        noise_variance=0.25,
    )
    return scores_of(post, Y, density=by_moments, distance=DISTANCE, copied=COPIED)


def test_scores_are_closed_forms(scores):
    nll = 0.5 * math.log(2 * math.pi) + 0.5 * Y**2
    assert scores["nll"] == pytest.approx(nll.mean())
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(Y**2)))
    assert scores["epistemic share"] == pytest.approx(0.75)
    assert scores["coverage 95"] == pytest.approx(4 / 6)  # −3 and 2 lie outside ±1.96
    assert scores["coverage 50"] == pytest.approx(3 / 6)
    assert scores["width 95"] == pytest.approx(2 * 1.959964)
    assert scores["even coverage 95"] == scores["coverage 95"]
    assert scores["even width 50"] == pytest.approx(2 * 0.67449, rel=1e-5)


def test_regions_are_thirds_by_distance_and_copies_are_left_out(scores):
    nll = 0.5 * math.log(2 * math.pi) + 0.5 * Y**2
    assert scores["nll near"] == pytest.approx(nll[[1, 4]].mean())
    assert scores["nll middle"] == pytest.approx(nll[[5, 0]].mean())
    assert scores["nll far"] == pytest.approx(nll[[3, 2]].mean())
    assert scores["coverage near"] == 0.5
    assert scores["coverage far"] == 0.5
    assert scores["copied"] == 2
    assert scores["nll alone"] == pytest.approx(nll[~COPIED].mean())


def test_normal_scores_are_ranks_among_training_rows_alone():
    train = np.array([[3.0], [1.0], [1.0], [2.0]])
    rows = np.array([[0.0], [1.0], [1.5], [3.0], [9.0]])
    found = with_normal_scores(train, rows)
    naive = []
    for value in rows[:, 0]:
        rank = (train[:, 0] < value).sum() + (train[:, 0] == value).sum() / 2
        naive.append(ndtri((rank + 0.5) / 5))
    np.testing.assert_allclose(found[:, 1], naive)
    np.testing.assert_array_equal(found[:, 0], rows[:, 0])
    assert np.isfinite(found).all()
