"""The classifier: labels, probabilities, temperature, dtypes, bad input, scikit-learn's checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from bayesnn.networks import Erf, mlp
from ensembles import (
    EnsembleClassifier,
    adam,
    anchored,
    cross_entropy,
    deep_ensemble,
    gauss_newton,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    one_hot_regression,
    randomised_prior,
)
from ensembles.losses import CrossEntropy, SquaredError

QUICK = adam(steps=40, batch_size=64)
each_likelihood = pytest.mark.parametrize(
    "likelihood", [cross_entropy(), one_hot_regression()], ids=lambda like: like.name
)


def _small(in_features: int = 2, out_features: int = 3, **settings: Any) -> nn.Module:
    return mlp(
        in_features=in_features, out_features=out_features, width=16, depth=1, activation=Erf(),
        weight_std=1.5, bias_std=0.5, **settings,
    )  # fmt: skip


def _blobs(n: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = np.arange(n) % classes
    angle = 2 * np.pi * codes / classes
    centres = 2 * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return centres + 0.5 * rng.standard_normal((n, 2)), codes


def _model(**settings: Any) -> EnsembleClassifier:
    defaults = {"network": _small(), "n_members": 3, "trainer": QUICK, "random_state": 0}
    return EnsembleClassifier(**(defaults | settings))


@each_likelihood
@pytest.mark.parametrize(
    "labels", [["b", "c", "a"], [10, -3, 7], [0.0, 1.0, 2.0]], ids=["str", "int", "float"]
)
def test_labels_of_any_type_come_back(likelihood: Any, labels: list[Any]) -> None:
    x, codes = _blobs()
    y = np.array(labels)[codes]
    model = _model(likelihood=likelihood).fit(x, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.score(x, y) > 0.95
    assert set(model.predict(x)) <= set(labels)
    proba = model.predict_proba(x)
    assert (model.classes_[proba.argmax(1)] == model.predict(x)).all()
    named = model.posterior(x).log_prob(y)
    picked = proba[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    np.testing.assert_allclose(named.exp().numpy(), picked)


@each_likelihood
def test_two_classes(likelihood: Any) -> None:
    x, y = _blobs(classes=2)
    model = _model(network=_small(out_features=2), likelihood=likelihood).fit(x, y == 1)
    assert model.predict(x).dtype == bool
    assert model.score(x, y == 1) > 0.95


@each_likelihood
def test_defaults_classify_real_data(likelihood: Any) -> None:
    x, y = load_iris(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)
    model = EnsembleClassifier(n_members=2, likelihood=likelihood, random_state=0)
    model.fit(x_train, y_train)
    proba = model.predict_proba(x_test)
    assert (proba.argmax(1) == y_test).mean() > 0.9
    nll = -np.log(proba[np.arange(len(y_test)), y_test]).mean()
    assert nll < 0.3  # guessing gives 1.1
    assert model.temperature_fitted_


@pytest.mark.parametrize(
    "method",
    [
        deep_ensemble(),
        anchored(),
        randomised_prior(),
        ntkgp_param(),
        ntkgp_fn(),
        ntkgp_lin(),
    ],
    ids=lambda method: method.name,
)
def test_every_method_classifies(method: Any, device: str) -> None:
    x, y = _blobs()
    model = _model(method=method, temperature=1.0, device=device).fit(x, y)
    post = model.posterior(np.concatenate((x, 30 * x)))
    assert (post.probabilities[:60].argmax(1).cpu().numpy() == y).mean() > 0.9
    # each row sums to 1 and its entropy has two parts of at least 0, of at most log 3 together
    torch.testing.assert_close(
        post.probabilities.sum(1), torch.ones_like(post.total_entropy), rtol=1e-6, atol=0
    )
    assert float(post.total_entropy.max()) < np.log(3) + 1e-6
    assert model.predict(x).shape == (60,)


def test_probabilities_are_the_mean_of_the_members_softmax() -> None:
    x, y = _blobs()
    model = _model(temperature=2.0).fit(x, y)
    post = model.posterior(x, keep_members=True)
    values = torch.cat(list(model._member_chunks(x)), dim=1)
    assert post.members is not None
    torch.testing.assert_close(post.members, (values / 2).softmax(-1))
    torch.testing.assert_close(post.probabilities, (values / 2).softmax(-1).mean(0))
    assert model.posterior(x).members is None


def test_entropies_tell_ignorance_from_noise() -> None:
    """Off the data members disagree; between classes that overlap they agree to be unsure."""
    rng = np.random.default_rng(3)
    x = np.concatenate((np.zeros((150, 1)), np.full((150, 1), 2.0)))
    y = np.concatenate((rng.integers(0, 2, 150), np.ones(150, dtype=int)))
    network = _small(1, 2, generator=torch.Generator().manual_seed(0))
    model = _model(network=network, n_members=8, trainer=adam(steps=150)).fit(x, y)
    coin, sure, far = (model.posterior([[at]]) for at in (0.0, 2.0, -30.0))
    assert float(coin.noise_entropy) > 0.6
    assert float(coin.epistemic_entropy) < 0.05
    assert float(sure.total_entropy) < 0.25
    assert float(far.epistemic_entropy) > 3 * float(coin.epistemic_entropy)


def test_the_temperature_is_fitted_on_enough_rows_alone() -> None:
    x, y = _blobs()
    assert _model().fit(x, y).temperature_fitted_
    few = _model().fit(x[:30], y[:30])
    assert not few.temperature_fitted_
    assert few.temperature_ == 1.0
    given = _model(temperature=0.7).fit(x, y)
    assert not given.temperature_fitted_
    assert given.temperature_ == 0.7


def test_the_temperature_improves_held_out_probabilities() -> None:
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x[:500].astype(np.float32), y[:500], random_state=0
    )

    def nll(temperature: float | None) -> float:
        model = EnsembleClassifier(
            n_members=4, temperature=temperature, random_state=0, trainer=QUICK
        ).fit(x_train, y_train)
        return -float(model.posterior(x_test).log_prob(y_test).mean())

    assert nll(None) < nll(1.0) - 0.05


def test_members_depend_on_the_seed_and_their_number_alone() -> None:
    x, y = _blobs()
    two, four = (_model(n_members=n, temperature=1.0).fit(x, y) for n in (2, 4))
    for name, value in two.params_.items():
        torch.testing.assert_close(value, four.params_[name][:2], rtol=1e-10, atol=1e-12)
    again = _model(n_members=4).fit(x, y)
    assert (again.predict_proba(x) == _model(n_members=4).fit(x, y).predict_proba(x)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_follow_x(dtype: type) -> None:
    x, y = _blobs()
    model = _model().fit(x.astype(dtype), y)
    assert model.predict_proba(x.astype(dtype)).dtype == dtype
    assert next(iter(model.params_.values())).dtype == torch.from_numpy(x.astype(dtype)).dtype


def test_images_go_to_a_network_that_takes_them() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = 0.3 * rng.standard_normal((60, 1, 4, 4)) + y[:, None, None, None]
    network = nn.Sequential(nn.Flatten(), _small(in_features=16))
    for standardize in (False, True):
        model = _model(network=network, standardize=standardize).fit(x, y)
        assert model.score(x, y) > 0.9
        with pytest.raises(ValueError, match=r"expected points of shape \('n', 1, 4, 4\)"):
            model.predict(x[:, :, :2])
    with pytest.raises(ValueError, match=r"dim 4|expected <= 2"):
        EnsembleClassifier().fit(x, y)


def test_classes_have_shorter_trainings_than_regression() -> None:
    """One-hot regression too, where there are too many rows for Gauss–Newton."""
    squares = SquaredError(noise_std=torch.ones(2))
    model = EnsembleClassifier()
    model.classes_ = np.arange(2)
    for loss in (squares, CrossEntropy()):
        assert model._trainer(loss, torch.zeros(500, 3)) == adam(steps=200, batch_size=64)
        assert model._trainer(loss, torch.zeros(1000, 3)) == adam(steps=1000, batch_size=128)
    assert model._trainer(squares, torch.zeros(256, 3)) == gauss_newton()
    assert EnsembleClassifier(trainer=QUICK)._trainer(squares, torch.zeros(9, 3)) is QUICK


def test_gauss_newton_takes_one_hot_regression_only() -> None:
    x, y = _blobs()
    newton = gauss_newton(max_steps=10)
    assert _model(likelihood=one_hot_regression(), trainer=newton).fit(x, y).score(x, y) > 0.95
    with pytest.raises(ValueError, match="squares only"):
        _model(trainer=newton).fit(x, y)


def test_one_member_predicts_but_knows_no_epistemic_entropy() -> None:
    x, y = _blobs()
    model = _model(n_members=1).fit(x, y)
    assert model.score(x, y) > 0.9
    with pytest.raises(ValueError, match="one member"):
        _ = model.posterior(x).epistemic_entropy


def test_bad_data_are_refused() -> None:
    x, y = _blobs()
    model = _model()
    with pytest.raises(NotFittedError):
        model.predict(x)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(x > 1, np.nan, x), y)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.where(x > 1, np.inf, x), y)
    with pytest.raises(ValueError, match="at least 2 classes, got one, 4, alone"):
        model.fit(x, np.full(len(x), 4))
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(x, y + 0.5 * x[:, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(x, y[:-1])
    with pytest.raises(ValueError, match="minimum of 2"):
        model.fit(x[:1], y[:1])
    with pytest.raises(ValueError, match="could not convert"):
        model.fit(np.full((60, 2), "wide"), y)
    with pytest.raises(ValueError, match="features"):
        model.fit(x, y).predict(x[:, :1])


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"n_members": 0}, "n_members"),
        ({"network": _small(out_features=1)}, "out_features=3"),
        ({"network": _small(in_features=5)}, "in_features=2"),
        ({"network": "mlp"}, "network: expected an object such as"),
        ({"likelihood": cross_entropy}, "likelihood: expected an object such as"),
        ({"likelihood": "cross_entropy"}, "likelihood: expected an object such as"),
        ({"method": deep_ensemble}, "method: expected an object such as"),
        ({"trainer": "adam"}, "trainer: expected an object such as"),
        ({"memory_budget": 0}, "memory_budget"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _model(**settings).fit(*_blobs())


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run")
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks() -> None:
    results = check_estimator(EnsembleClassifier(n_members=3), on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert len(results) > 40
