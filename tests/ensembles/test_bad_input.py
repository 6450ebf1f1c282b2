"""What users get wrong: one clear error each, before work starts; what looks odd but works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bayesnn.networks import Erf, NTKLinear, mlp
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    deep_ensemble,
    gauss_newton,
    heteroscedastic,
)

QUICK = gauss_newton(max_steps=5)


def _small(**settings: Any) -> nn.Module:
    defaults = {"in_features": 2, "out_features": 1, "width": 8, "depth": 1, "activation": Erf()}
    return mlp(**(defaults | settings))


def _data(n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2))
    return x, np.sin(x[:, 0]) + 0.1 * rng.standard_normal(n)


def _regressor(**settings: Any) -> EnsembleRegressor:
    defaults = {"n_members": 2, "trainer": QUICK, "random_state": 0, "noise_std": 0.1}
    return EnsembleRegressor(**({"network": _small()} | defaults | settings))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors must come before any training."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("ensembles.estimators.base.fit_members", refuse)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (np.where(x > 1, np.nan, x), y), "X contains NaN"),
        (lambda x, y: (np.where(x > 1, np.inf, x), y), "X contains infinity"),
        (lambda x, y: (x, np.where(y > 0.5, np.nan, y)), "NaN"),
        (lambda x, y: (x, np.where(y > 0.5, -np.inf, y)), "infinity"),
        (lambda x, y: (x[:1], y[:1]), "minimum of 2 is required"),
        (lambda x, y: (x[:0], y[:0]), "0 sample"),
        (lambda x, y: (x, y[:-1]), "inconsistent numbers of samples"),
        (lambda x, y: (x[:, 0], y), "Expected 2D array"),
        (lambda x, y: (x[:, :0], y), "0 feature"),
        (lambda x, _: (x.astype(str), np.full(len(x), "cat")), "real numbers|convert"),
        (lambda x, y: (np.full(x.shape, "wide"), y), "convert string"),
        (lambda x, _: (x, np.full(len(x), "cat")), "EnsembleClassifier takes classes"),
        (lambda x, _: (x, np.array(["cat"] * len(x), dtype=object)), "convert string"),
        (lambda x, y: (x + 1j, y), "Complex data"),
        (lambda x, y: (x, y + 1j), "Complex data"),
        (lambda _, y: (torch.full((12, 2), torch.nan), y), "X contains NaN"),
    ],
)
def test_bad_data_are_refused(change: Any, message: str) -> None:
    for model in (_regressor(), EnsembleRegressor()):
        with pytest.raises(ValueError, match=message):
            model.fit(*change(*_data()))


class _Headless(nn.Module):
    """A network that ends in no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = NTKLinear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.linear(x))


@pytest.mark.usefixtures("as_users_run", "no_training")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_std": 0.0}, "noise_std: expected a finite number above 0"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"noise_std": np.nan}, "noise_std"),
        ({"noise_std": "loud"}, "noise_std"),
        ({"noise_std": [0.1, 0.2]}, "noise_std: expected one number or 1"),
        ({"n_members": 0}, "n_members"),
        ({"n_members": 2.5}, "n_members"),
        ({"network": _small(in_features=3)}, "in_features=2"),
        ({"network": _small(out_features=2)}, "out_features=1"),
        ({"network": _small(), "likelihood": heteroscedastic()}, "out_features=2"),
        ({"network": _small}, "network: expected an object such as"),
        ({"network": _Headless()}, "read-out"),
        (
            {"network": nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))},
            "BatchNorm1d",
        ),
        ({"readout": "nowhere"}, "nowhere"),
        ({"prior_precision": {"nowhere": 1.0}}, "nowhere"),
        ({"prior_precision": {"0.weight": -1.0}}, "0.weight"),
        ({"method": deep_ensemble}, "method: expected an object such as"),
        ({"trainer": adam}, "trainer: expected an object such as"),
        ({"likelihood": "gaussian"}, "likelihood: expected an object such as"),
        ({"memory_budget": -1}, "memory_budget"),
        ({"device": "nowhere"}, "device"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": "lucky"}, "random_state"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _regressor(**settings).fit(*_data())


@pytest.mark.parametrize(
    "model", [_regressor(trainer=None), EnsembleRegressor(n_members=3, random_state=0)]
)
@pytest.mark.parametrize("constant", [0.0, -3.0, 1e6])
def test_constant_targets_are_predicted(model: EnsembleRegressor, constant: float) -> None:
    x, _ = _data()
    model.set_params(noise_std=None, standardize=True)
    post = model.fit(x, np.full(len(x), constant)).posterior(x)
    assert bool((post.std > 0).all())
    assert bool((post.std < 0.1).all())
    np.testing.assert_allclose(post.mean.numpy(), constant, atol=0.1)


def test_constant_columns_change_nothing_by_their_value() -> None:
    x, y = _data()
    found = []
    for value in (1.0, 1e9):
        wide = np.column_stack((x, np.full(len(x), value)))
        network = _small(in_features=3, generator=torch.Generator().manual_seed(0))
        model = _regressor(network=network, standardize=True).fit(wide, y)
        found.append(model.predict(wide))
        assert EnsembleRegressor(n_members=2, noise_std=0.1).fit(wide, y).score(wide, y) > 0.5
    np.testing.assert_allclose(*found)


def test_one_member_predicts_and_says_why_it_has_no_spread() -> None:
    x, y = _data()
    model = _regressor(n_members=1).fit(x, y)
    assert model.predict(x).shape == y.shape
    with pytest.raises(ValueError, match="one member has no spread"):
        model.predict(x, return_std=True)
    with pytest.raises(ValueError, match="one member has no spread"):
        _ = model.posterior(x).epistemic_variance


def test_points_of_another_width_are_refused() -> None:
    x, y = _data()
    model = _regressor().fit(x, y)
    for wrong in (x[:, :1], np.column_stack((x, x))):
        with pytest.raises(ValueError, match="is expecting 2 features"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((3, 2), np.nan))


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(12, 7), "at least 2 classes, got one, 7, alone"),
        (np.linspace(0, 1, 12), "Unknown label type"),
        (np.eye(12), "Unknown label type|1d array"),
        (np.where(np.arange(12) == 3, np.nan, 1.0), "NaN"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: np.ndarray, message: str) -> None:
    x, _ = _data()
    with pytest.raises(ValueError, match=message):
        EnsembleClassifier().fit(x, labels)
