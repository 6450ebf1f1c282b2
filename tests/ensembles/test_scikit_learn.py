"""Both estimators in scikit-learn's tools, with the inputs that users bring."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251  # users do; our own files never hold pickles
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bayesnn.networks import Erf, mlp
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    anchored,
    cross_entropy,
    deep_ensemble,
    gauss_newton,
    heteroscedastic,
    ntkgp_param,
    one_hot_regression,
)

Estimator = EnsembleRegressor | EnsembleClassifier


def _data(n: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2))
    return x, np.sin(2 * x[:, 0]) + 0.1 * rng.standard_normal(n)


def _network(out_features: int) -> torch.nn.Module:
    return mlp(
        in_features=2, out_features=out_features, width=16, depth=1, activation=Erf(),
        weight_std=2.0, bias_std=1.0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def _regressor(**settings: Any) -> EnsembleRegressor:
    defaults = {"trainer": gauss_newton(max_steps=10), "n_members": 2, "random_state": 0}
    return EnsembleRegressor(_network(1), **(defaults | settings))


def _classifier(**settings: Any) -> EnsembleClassifier:
    defaults = {"trainer": adam(steps=60), "n_members": 2, "random_state": 0, "temperature": 1.0}
    return EnsembleClassifier(_network(2), **(defaults | settings))


def _y(model: Estimator, y: np.ndarray) -> np.ndarray:
    return np.where(y > 0, "up", "down") if isinstance(model, EnsembleClassifier) else y


each_estimator = pytest.mark.parametrize(
    "model", [_regressor(), _classifier()], ids=["regressor", "classifier"]
)


@each_estimator
def test_pipelines_and_searches(model: Estimator) -> None:
    x, y = _data()
    y = _y(model, y)
    pipeline = make_pipeline(StandardScaler(), model)
    assert pipeline.fit(100 * x + 5, y).score(100 * x + 5, y) > 0.7
    assert cross_val_score(model, x, y, cv=3).mean() > 0.4
    assert cross_val_predict(model, x, y, cv=2).shape == y.shape
    likelihoods: list[Any] = (
        [cross_entropy(), one_hot_regression()] if isinstance(model, EnsembleClassifier) else [None]
    )
    grid = {"method": [deep_ensemble(), ntkgp_param()], "likelihood": likelihoods}
    search = GridSearchCV(model, grid, cv=2).fit(x, y)
    assert search.best_params_["method"] in grid["method"]
    assert search.predict(x).shape == y.shape


def test_sample_weights_pass_through_a_search() -> None:
    x, y = _data()
    search = GridSearchCV(_regressor(), {"n_members": [2, 3]}, cv=2)
    search.fit(x, y, sample_weight=np.linspace(0.5, 2, len(y)))
    assert search.best_params_["n_members"] in {2, 3}


@each_estimator
def test_tables_tensors_and_lists_give_the_same(model: Estimator) -> None:
    x, y = _data()
    y = _y(model, y)
    expected = model.fit(x, y).predict(x)
    table = pd.DataFrame(x, columns=["width", "height"])
    from_table = model.fit(table, pd.Series(y)).predict(table)
    if isinstance(model, EnsembleClassifier):
        assert (from_table == expected).all()
    else:  # products of a table's columns round another way
        np.testing.assert_allclose(from_table, expected, rtol=1e-9)
    assert model.feature_names_in_.tolist() == ["width", "height"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[["height", "width"]])
    assert (model.fit(x.tolist(), y.tolist()).predict(x.tolist()) == expected).all()
    target = torch.tensor(y == "up") if y.dtype.kind == "U" else torch.tensor(y)
    from_torch = model.fit(torch.tensor(x), target).predict(torch.tensor(x))
    assert isinstance(from_torch, np.ndarray)
    assert (from_torch == (expected == "up" if y.dtype.kind == "U" else expected)).all()
    ordered = np.asfortranarray(x)[::-1]
    assert (model.fit(x, y).predict(ordered) == model.predict(x)[::-1]).mean() > 0.95


@each_estimator
def test_users_can_pickle_and_copy(model: Estimator) -> None:
    x, y = _data()
    fitted = clone(model).fit(x, _y(model, y))
    expected = fitted.predict(x)
    for again in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):  # noqa: S301
        assert (again.predict(x) == expected).all()
    with pytest.raises(NotFittedError):
        clone(fitted).predict(x)


@each_estimator
def test_clones_have_equal_settings(model: Estimator) -> None:
    method = anchored()
    wanted = clone(model).set_params(method=method, memory_budget=2**20, prior_precision={"0": 1.0})
    found = clone(wanted)
    assert found.method == method
    assert found.trainer == model.trainer
    assert found.prior_precision == {"0": 1.0}
    assert found.get_params().keys() == model.get_params().keys()


def test_a_likelihood_is_a_setting_like_any_other() -> None:
    model = clone(EnsembleRegressor(likelihood=heteroscedastic(bound=3.0)))
    assert model.get_params()["likelihood"] == heteroscedastic(bound=3.0)
    assert model.likelihood != heteroscedastic()


def test_meta_estimators_fit_one_output_at_a_time() -> None:
    x, y = _data()
    both = MultiOutputRegressor(_regressor()).fit(x, np.stack((y, -y), axis=1))
    assert both.predict(x).shape == (len(y), 2)


@each_estimator
def test_a_callback_hears_of_training_and_a_finished_checkpoint_is_read(
    model: Estimator, tmp_path: Any
) -> None:
    x, y = _data()
    y = _y(model, y)
    heard: list[int] = []
    model = clone(model).set_params(trainer=adam(steps=20))

    def fit() -> Estimator:
        return model.fit(
            x, y, checkpoint=tmp_path / "kept", callback=lambda p: heard.append(p.step)
        )

    expected = fit().predict(x)
    assert heard == list(range(1, 21))
    fit()
    assert len(heard) == 20
    assert (model.predict(x) == expected).all()


def test_a_declared_prior_is_the_one_that_is_used() -> None:
    """A read-out that hardly may move stays where it was drawn."""
    x, y = _data()
    free = _regressor(noise_std=0.1).fit(x, y).posterior(x)
    stiff = _regressor(noise_std=0.1, prior_precision={"2.weight": 1e6, "2.bias": 1e6})
    assert float(stiff.fit(x, y).posterior(x).mean.abs().max()) < float(free.mean.abs().max())
    names = {name: float(value[0].abs().max()) for name, value in stiff.params_.items()}
    assert names["2.weight"] < 0.1
    assert names["0.weight"] > 0.5
