import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.comparison.paired import over_clusters, over_splits

scores = st.lists(st.floats(-10, 10), min_size=2, max_size=12)


@given(scores, st.integers(0, 2**16))
def test_without_shared_points_splits_are_the_paired_t_test(first, seed):
    second = np.random.default_rng(seed).normal(size=len(first))
    ours = over_splits(first, second, test_share=1e-12)
    theirs = stats.ttest_rel(first, second)
    assert ours.standard_errors == pytest.approx(theirs.statistic, rel=1e-6, abs=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-5, abs=1e-9)


def test_twenty_splits_of_nine_to_one_count_as_six_and_a_fraction():
    first, second = np.arange(20.0), np.zeros(20)
    error = over_splits(first, second, test_share=0.1).standard_error
    assert error == pytest.approx(first.std(ddof=1) * math.sqrt(1 / 20 + 1 / 9))


def test_shared_points_are_allowed_for():
    """Two constants that are equally good, on splits of one sample: few false alarms."""
    rng = np.random.default_rng(0)
    alarms = {0.1: 0, 1e-12: 0}
    for _ in range(400):
        x, splits = rng.normal(size=100), []
        for _ in range(20):
            order = rng.permutation(100)
            train, test = x[order[:90]], x[order[90:]]
            splits.append((
                np.mean((test - train.mean()) ** 2),
                np.mean((test - np.median(train)) ** 2),
            ))
        first, second = np.transpose(splits)
        for share in alarms:
            alarms[share] += over_splits(first, second, test_share=share).p_value < 0.05
    assert alarms[0.1] < 0.05 * 400 + 2 * math.sqrt(0.05 * 400)
    assert alarms[1e-12] > 2 * alarms[0.1]


@given(scores, st.integers(0, 2**16))
def test_clusters_of_one_point_are_independent_points(first, seed):
    second = np.random.default_rng(seed).normal(size=len(first))
    ours = over_clusters(first, second, cluster=np.arange(len(first)))
    theirs = stats.ttest_rel(first, second)
    assert ours.standard_errors == pytest.approx(theirs.statistic, rel=1e-6, abs=1e-9)


@given(st.integers(1, 5), st.integers(0, 2**16))
def test_copies_within_a_cluster_add_nothing(copies, seed):
    first, second = np.random.default_rng(seed).normal(size=(2, 9))
    once = over_clusters(first, second, cluster=np.arange(9))
    many = over_clusters(
        np.repeat(first, copies), np.repeat(second, copies), cluster=np.repeat(np.arange(9), copies)
    )
    assert many.mean == pytest.approx(once.mean)
    assert many.standard_error == pytest.approx(once.standard_error)


def test_clustered_errors_hold_in_simulation():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        days = np.repeat(np.arange(40), rng.integers(1, 30, size=40))
        values = rng.normal(size=40)[days] + rng.normal(size=len(days))
        inside += over_clusters(values, np.zeros_like(values), cluster=days).p_value > 0.05
    assert 0.91 * 400 < inside < 0.98 * 400


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        over_splits([1.0, 2.0], [1.0], test_share=0.1)
    with pytest.raises(ValueError, match="finite"):
        over_splits([1.0, math.nan], [1.0, 2.0], test_share=0.1)
    with pytest.raises(ValueError, match="test_share"):
        over_splits([1.0, 2.0], [1.0, 2.0], test_share=1.0)
    with pytest.raises(ValueError, match="two clusters"):
        over_clusters([1.0, 2.0], [1.0, 2.0], cluster=[3, 3])


def test_equal_methods_do_not_differ():
    same = over_splits([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], test_share=0.1)
    assert same.standard_errors == 0
    assert same.p_value == 1
