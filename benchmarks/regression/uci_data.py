"""The UCI sets and their 20 standard splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from benchmarks.regression.normal_scores import with_normal_scores

FILES = {
    "concrete": "concrete.txt",
    "energy": "energy.txt",
    "yacht": "yacht.txt",
    "wine-red": "wine-quality-red.txt",
}
QUICK = "diabetes"  # ships with scikit-learn
QUICK_ROWS = 150
TRAIN_SHARE = 0.9
PUBLISHED_SPLITS = 20


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split: distinct training rows, and all test rows.

    Attributes:
        X: training inputs, each column also as normal scores; rows that stand twice, target
            included, are taken once.
        y: their targets.
        X_test: test inputs.
        y_test: their targets.
        copied: which test rows stand among the training rows, target included.
    """

    X: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    X_test: Float[np.ndarray, "m d"]
    y_test: Float[np.ndarray, " m"]
    copied: Bool[np.ndarray, " m"]

    def distance(self) -> Float[np.ndarray, " m"]:
        """Return each test row's distance to the nearest training row, inputs standardised."""
        scale = self.X.std(0)
        scale[scale == 0] = 1.0
        nearest: Float[np.ndarray, " m"] = cdist(self.X_test / scale, self.X / scale).min(1)
        return nearest


def load(name: str, folder: Path | None) -> Float[np.ndarray, "n columns"]:
    """Return a table whose last column is the target.

    Args:
        name: one of `FILES`, or "diabetes".
        folder: what holds the files, in itself or in its folder `uci`.

    Raises:
        FileNotFoundError: the file is not there.
    """
    if name == QUICK:
        from sklearn.datasets import load_diabetes

        data = load_diabetes()
        return np.column_stack((data.data, data.target))[:QUICK_ROWS]
    places = [] if folder is None else [folder / "uci" / FILES[name], folder / FILES[name]]
    for place in places:
        if place.is_file():
            return np.loadtxt(place)
    raise FileNotFoundError(
        f"--data-dir: expected {FILES[name]} in {folder} or its folder uci, found none; point "
        "--data-dir or BAYESNN_DATA at the folder of the UCI files."
    )


def split(table: Float[np.ndarray, "n columns"], index: int) -> Split:
    """Return the standard split number `index` (Gal's index files are reproduced exactly).

    One `RandomState(1)` draws all splits in turn: a permutation by `choice` without replacement,
    of which the first round(0.9 n) rows are for training.
    """
    draw = np.random.RandomState(1)
    for _ in range(index + 1):
        order = draw.choice(range(len(table)), len(table), replace=False)
    size = round(TRAIN_SHARE * len(table))
    train, test = table[order[:size]], table[order[size:]]
    _, first = np.unique(train, axis=0, return_index=True)
    train = train[np.sort(first)]
    seen = {row.tobytes() for row in train}
    inputs = train[:, :-1]
    return Split(
        X=with_normal_scores(inputs, inputs),
        y=train[:, -1],
        X_test=with_normal_scores(inputs, test[:, :-1]),
        y_test=test[:, -1],
        copied=np.array([row.tobytes() in seen for row in np.ascontiguousarray(test)]),
    )
