import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.regression.normal_scores import with_normal_scores
from benchmarks.regression.uci_data import FILES, load, split


def _table(n: int = 30) -> np.ndarray:
    draw = np.random.default_rng(0)
    return np.column_stack((draw.integers(0, 9, size=(n, 2)), draw.normal(size=n).round(1)))


def test_splits_are_the_published_rule():
    table = np.column_stack((np.arange(24.0), np.arange(24.0)))  # rows know their places
    random = np.random.RandomState(1)
    for index in range(4):
        order = random.choice(range(24), 24, replace=False)
        found = split(table, index)
        np.testing.assert_array_equal(found.y, order[:22])
        np.testing.assert_array_equal(found.y_test, order[22:])
        np.testing.assert_array_equal(found.X_test[:, 0], order[22:])


def test_training_rows_are_distinct_and_copies_are_known():
    table = _table()
    table = np.concatenate((table, table[:20]))
    found = split(table, 0)
    rows = [(*x[:2], y) for x, y in zip(found.X, found.y, strict=True)]
    assert len(set(rows)) == len(rows)
    random = np.random.RandomState(1)
    order = random.choice(range(50), 50, replace=False)
    assert set(rows) == {tuple(row) for row in table[order[:45]]}
    expected = [(*x[:2], y) in set(rows) for x, y in zip(found.X_test, found.y_test, strict=True)]
    np.testing.assert_array_equal(found.copied, expected)
    assert any(expected)


def test_distance_is_to_the_nearest_training_row():
    found = split(_table(), 1)
    scale = found.X.std(0)
    naive = [min(np.linalg.norm((x - z) / scale) for z in found.X) for x in found.X_test]
    np.testing.assert_allclose(found.distance(), naive, atol=1e-7)


def test_normal_scores_of_test_rows_are_by_the_training_rows():
    found = split(_table(), 0)
    np.testing.assert_array_equal(
        found.X_test, with_normal_scores(found.X[:, :2], found.X_test[:, :2])
    )


def test_inputs_of_test_rows_do_not_touch_training_rows():
    table = _table()
    order = np.random.RandomState(1).choice(range(30), 30, replace=False)
    poisoned = table.copy()
    poisoned[order[27:]] = 1e9
    np.testing.assert_array_equal(split(table, 0).X, split(poisoned, 0).X)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected yacht.txt .* BAYESNN_DATA"):
        load("yacht", tmp_path)


@pytest.mark.data
@pytest.mark.skipif("BAYESNN_DATA" not in os.environ, reason="BAYESNN_DATA is not set")
def test_sets_have_their_published_sizes():
    folder = Path(os.environ["BAYESNN_DATA"])
    sizes = {name: load(name, folder).shape for name in FILES}
    assert sizes == {
        "concrete": (1030, 9), "energy": (768, 9), "yacht": (308, 7), "wine-red": (1599, 12),
    }  # fmt: skip
