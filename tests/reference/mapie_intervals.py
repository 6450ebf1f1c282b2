"""Writes mapie_intervals.json: intervals and sets of MAPIE 1.6.0, with all that they came from.

pip install mapie==1.6.0 && python tests/reference/mapie_intervals.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).with_suffix(".json")
LEVEL = 0.8
FOLDS = 5


class Column:
    """A fitted model whose prediction is one column of X."""

    def __init__(self, column: int) -> None:
        self.column, self.is_fitted_ = column, True

    def fit(self, X: NDArray, y: NDArray) -> Column:
        return self

    def predict(self, X: NDArray) -> NDArray:
        return X[:, self.column]

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Width(Column):
    """Predicts the distance between the second and the third column."""

    def __init__(self) -> None:
        super().__init__(0)

    def predict(self, X: NDArray) -> NDArray:
        return X[:, 2] - X[:, 1]


class Columns(Column):
    """A fitted classifier whose probabilities are X."""

    def __init__(self) -> None:
        self.classes_, self.is_fitted_ = np.arange(4), True

    def predict_proba(self, X: NDArray) -> NDArray:
        return X

    def predict(self, X: NDArray) -> NDArray:
        return X.argmax(1)


def main() -> None:
    from mapie.classification import SplitConformalClassifier
    from mapie.conformity_scores import ResidualNormalisedScore
    from mapie.regression import (
        ConformalizedQuantileRegressor,
        CrossConformalRegressor,
        SplitConformalRegressor,
    )
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import KFold

    class Regressor(RegressorMixin, Column, BaseEstimator):
        pass

    class Scale(RegressorMixin, Width, BaseEstimator):
        pass

    class Classifier(ClassifierMixin, Columns, BaseEstimator):
        pass

    rng = np.random.default_rng(0)
    cases: dict[str, Any] = {"level": LEVEL}

    X, y = rng.normal(size=(40, 3)).round(3), rng.normal(size=30).round(3)
    X[:, 1], X[:, 2] = X[:, 0] - abs(X[:, 1]), X[:, 0] + abs(X[:, 2])  # lower and upper ends
    split = SplitConformalRegressor(Regressor(0), confidence_level=LEVEL, prefit=True)
    split.conformalize(X[:30], y)
    scaled = SplitConformalRegressor(
        Regressor(0), confidence_level=LEVEL, prefit=True,
        conformity_score=ResidualNormalisedScore(residual_estimator=Scale(), prefit=True),
    )  # fmt: skip
    scaled.conformalize(X[:30], y)
    cqr = ConformalizedQuantileRegressor(
        [Regressor(1), Regressor(2), Regressor(0)], confidence_level=LEVEL, prefit=True
    )
    cqr.conformalize(X[:30], y)
    cases |= {"y": y.tolist(), "predicted": X.tolist()}
    cases["split"] = ends(split.predict_interval(X[30:]))
    cases["scaled"] = ends(scaled.predict_interval(X[30:]))
    cases["cqr"] = ends(cqr.predict_interval(X[30:], symmetric_correction=True))

    design, target = rng.normal(size=(33, 2)).round(3), rng.normal(size=25).round(3)
    cases |= {"design": design.tolist(), "target": target.tolist()}
    for name, cv in (("jackknife_plus", -1), ("cv_plus", KFold(FOLDS))):
        plus = CrossConformalRegressor(
            LinearRegression(), confidence_level=LEVEL, method="plus", cv=cv
        )
        plus.fit_conformalize(design[:25], target)
        cases[name] = ends(plus.predict_interval(design[25:]))

    p = rng.dirichlet(np.ones(4), size=50)
    labels = [int(rng.choice(4, p=row)) for row in p[:40]]
    aps = SplitConformalClassifier(
        Classifier(), confidence_level=LEVEL, conformity_score="aps", prefit=True, random_state=0
    )
    aps.conformalize(p[:40], np.array(labels))
    _, sets = aps.predict_set(p[40:], conformity_score_params={"include_last_label": True})
    _, drawn = aps.predict_set(p[40:], conformity_score_params={"include_last_label": "randomized"})
    draws = np.random.RandomState(0).uniform(size=40)  # as its scores are randomised
    cases |= {"labels": labels, "probabilities": p.tolist(), "draws": draws.tolist()}
    cases["sets"] = sets[..., 0].astype(int).tolist()
    cases["drawn_sets"] = drawn[..., 0].astype(int).tolist()
    PATH.write_text(json.dumps(cases, indent=None) + "\n")


def ends(result: tuple[NDArray, NDArray]) -> list[list[float]]:
    """Lower ends, then upper ones."""
    return result[1][..., 0].T.tolist()


if __name__ == "__main__":
    main()
