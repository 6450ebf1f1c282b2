"""Recalibration and conformal prediction behind scikit-learn's interface."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from bayesnn.calibration import (
    ConformalClassifier,
    ConformalRegressor,
    IsotonicScaler,
    TemperatureScaler,
    VectorScaler,
    fit_adaptive_sets,
    fit_isotonic_classes,
    fit_split_conformal,
    fit_temperature,
    fit_vector_scaling,
)
from tests.bayesnn.calibration.test_logit_scaling import overconfident


@pytest.mark.parametrize(
    ("scaler", "fitted_by"),
    [
        (TemperatureScaler(), fit_temperature),
        (IsotonicScaler(), fit_isotonic_classes),
        (VectorScaler(), fit_vector_scaling),
        (VectorScaler(penalty=0.1), lambda y, z: fit_vector_scaling(y, z, penalty=0.1)),
    ],
)
def test_scalers_are_the_functions(scaler, fitted_by) -> None:
    y, z = (part.numpy() for part in overconfident(200, 3))
    copied = clone(scaler)
    with pytest.raises(NotFittedError):
        copied.transform(z)
    got = copied.fit_transform(z, y)
    assert isinstance(got, np.ndarray)
    assert np.array_equal(got, fitted_by(y, z).transform(z).numpy())


@pytest.mark.parametrize("standardized", [False, True])
def test_the_regressor_is_split_conformal_around_its_estimator(standardized: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    y = X.sum(1) + rng.normal(size=90)
    estimator = GaussianProcessRegressor(alpha=1.0) if standardized else LinearRegression()
    estimator.fit(X[:30], y[:30])
    model = ConformalRegressor(estimator, standardized=standardized)
    with pytest.raises(NotFittedError):
        model.predict_interval(X)
    got = model.fit(X[30:60], y[30:60]).predict_interval(X[60:], level=0.8)

    def predicted(part):
        return (
            estimator.predict(part, return_std=True) if standardized else (estimator.predict(part),)
        )

    fitted = fit_split_conformal(y[30:60], *predicted(X[30:60]))
    for found, wanted in zip(got, fitted.interval(*predicted(X[60:]), level=0.8), strict=True):
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, wanted.numpy())
    assert np.array_equal(model.predict(X), estimator.predict(X))


@pytest.mark.parametrize("randomised", [False, True])
def test_the_classifier_is_adaptive_sets_around_its_estimator(randomised: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    codes = (X @ [[1, 0, -1], [0, 2, 0]] + rng.normal(size=(150, 3))).argmax(1)
    y = np.array(["cat", "dog", "owl"])[codes]
    estimator = LogisticRegression().fit(X[:50], y[:50])
    model = ConformalClassifier(estimator, randomised=randomised, seed=4)
    with pytest.raises(NotFittedError):
        model.predict_set(X)
    got = model.fit(X[50:100], y[50:100]).predict_set(X[100:], level=0.8)
    p = estimator.predict_proba(X)
    fitted = fit_adaptive_sets(codes[50:100], p[50:100], randomised=randomised, seed=4)
    assert np.array_equal(got, fitted.sets(p[100:], level=0.8, seed=4).numpy())
    assert model.classes_.tolist() == ["cat", "dog", "owl"]
    assert np.array_equal(model.predict(X), estimator.predict(X))
    with pytest.raises(ValueError, match="y: expected the estimator's classes, such as 'cat', got"):
        model.fit(X[:1], ["eel"])


def test_tensors_with_gradients_are_taken() -> None:
    y, z = overconfident(50, 3)
    z = z.requires_grad_()
    assert isinstance(TemperatureScaler().fit(z, y).transform(z), np.ndarray)
    assert torch.is_tensor(fit_temperature(y, z).transform(z))
