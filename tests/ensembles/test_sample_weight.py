"""A weight w is noise of variance σ²/w in regression, and w times the loss otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bayesnn.networks import NTKLinear
from bayesnn.seeds import seeded_generator
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    anchored,
    gauss_newton,
    heteroscedastic,
    student_t,
)
from ensembles.noise import fit_noise
from ensembles.standardizer import fit_standardizer

WEIGHTS = np.array([1, 3, 1, 2, 5, 1, 1, 4])


def _data(n: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2))
    return x, np.sin(x[:, 0]) + 0.5 * rng.standard_normal(n)


def _linear(out_features: int = 1) -> NTKLinear:
    return NTKLinear(2, out_features, bias_std=1.0, generator=seeded_generator(0))


@pytest.mark.parametrize(
    "trainer",
    [gauss_newton(tolerance=1e-10), adam(steps=250, learning_rate=0.3)],
    ids=["gauss_newton", "adam"],
)
def test_a_weighted_ensemble_is_the_posterior_of_repeated_rows(
    trainer: object, device: str
) -> None:
    """In a linear model members are exact samples of the posterior.

    It is written out for the data with each row repeated as often as its weight says. With m
    members means agree to 5 standard errors, and variances to 5·√(2/m) of themselves.
    """
    x, y = _data()
    points, noise, n_members = np.array([[3.0, -1.0], [0.0, 0.2]]), 0.5, 1000
    rows, targets = np.repeat(x, WEIGHTS, axis=0), np.repeat(y, WEIGHTS)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 1.5**2 / 2 * a @ b.T + 1.0

    gram = kernel(rows, rows) + noise**2 * np.eye(len(rows))
    mean = kernel(points, rows) @ np.linalg.solve(gram, targets)
    explained = kernel(points, rows) @ np.linalg.solve(gram, kernel(rows, points))
    variance = np.diag(kernel(points, points) - explained)
    model = EnsembleRegressor(
        _linear(), method=anchored(), n_members=n_members, noise_std=noise, random_state=0,
        trainer=trainer, device=device,
    )  # fmt: skip
    post = model.fit(x, y, sample_weight=WEIGHTS).posterior(points)
    error = np.abs(post.mean.cpu().numpy() - mean)
    ratio = post.epistemic_variance.cpu().numpy() / variance
    assert (error < 5 * np.sqrt(variance / n_members)).all()
    assert (np.abs(ratio - 1) < 5 * math.sqrt(2 / n_members)).all()
    # without weights the posterior is another: the bounds above can tell
    bare = model.fit(x, y).posterior(points).epistemic_variance.cpu().numpy() / variance
    assert (np.abs(bare - 1) > 5 * math.sqrt(2 / n_members)).any()


def test_weighted_classes_are_repeated_rows() -> None:
    """Nothing is drawn a row here, so the two fits have the same minimum."""
    x, y = _data()
    settings = {
        "method": anchored(), "n_members": 2, "temperature": 1.0, "random_state": 0,
        "trainer": adam(steps=300, learning_rate=0.3),
    }  # fmt: skip
    weighted = EnsembleClassifier(_linear(2), **settings).fit(x, y > 0, sample_weight=WEIGHTS)
    rows, labels = np.repeat(x, WEIGHTS, axis=0), np.repeat(y > 0, WEIGHTS)
    repeated = EnsembleClassifier(_linear(2), **settings).fit(rows, labels)
    np.testing.assert_allclose(
        weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-4, atol=1e-5
    )
    bare = EnsembleClassifier(_linear(2), **settings).fit(x, y > 0)
    assert np.abs(bare.predict_proba(x) - repeated.predict_proba(x)).max() > 0.01


@pytest.mark.parametrize("likelihood", [None, heteroscedastic(), student_t()])
def test_rows_of_weight_0_are_no_rows(likelihood: object) -> None:
    x, y = _data()
    weight = np.where(np.arange(8) % 3 == 0, 0.0, 2.0)
    model = EnsembleRegressor(
        NTKLinear(2, 2 if likelihood else 1, generator=seeded_generator(0)), n_members=2,
        likelihood=likelihood, random_state=0, standardize=True, trainer=None if likelihood is None
        else adam(steps=5),
    )  # fmt: skip
    some = model.fit(x, y, sample_weight=weight).predict(x)
    used = weight > 0
    np.testing.assert_array_equal(
        model.fit(x[used], y[used], sample_weight=weight[used]).predict(x), some
    )


def test_weights_are_the_same_in_numpy_torch_and_lists() -> None:
    x, y = _data()
    model = EnsembleRegressor(_linear(), n_members=2, noise_std=0.3, random_state=0)
    found = [
        model.fit(x, y, sample_weight=weight).predict(x)
        for weight in (WEIGHTS, WEIGHTS.tolist(), torch.tensor(WEIGHTS))
    ]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_the_noise_is_that_of_weight_1() -> None:
    """Half of the rows have a quarter of the variance, and say so."""
    rng = np.random.default_rng(2)
    x = rng.uniform(-2, 2, (600, 2))
    weight = np.where(np.arange(600) % 2 == 0, 4.0, 1.0)
    y = x.sum(1) + 0.4 / np.sqrt(weight) * rng.standard_normal(600)
    tensors = torch.tensor(x), torch.tensor(y).unsqueeze(1)
    network = _linear().double()
    weighted = fit_noise(network, *tensors, seed=0, row_weight=torch.tensor(weight))
    assert float(weighted.noise_std) == pytest.approx(0.4, rel=0.12)  # 4 standard errors
    assert float(fit_noise(network, *tensors, seed=0).noise_std) < 0.35
    # a common factor of the weights is one of σ², and the evidence stays what it was
    double = fit_noise(network, *tensors, seed=0, row_weight=2 * torch.tensor(weight))
    assert float(double.noise_std) == pytest.approx(math.sqrt(2) * 0.4, rel=0.12)
    assert double.log_evidence == pytest.approx(weighted.log_evidence, abs=1e-3)


def test_units_count_a_row_as_often_as_its_weight_says() -> None:
    x, y = (torch.tensor(values) for values in _data())
    y = y.unsqueeze(1)
    repeats = torch.tensor(WEIGHTS)
    for shape in ((8, 2), (8, 1, 2)):
        inputs = x.reshape(shape)
        weighted = fit_standardizer(inputs, y, row_weight=repeats.double())
        repeated = fit_standardizer(
            inputs.repeat_interleave(repeats, 0), y.repeat_interleave(repeats, 0)
        )
        for name in ("x_mean", "x_scale", "y_mean", "y_scale"):
            torch.testing.assert_close(getattr(weighted, name), getattr(repeated, name))


@pytest.mark.parametrize("estimator", [EnsembleRegressor, EnsembleClassifier])
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-np.ones(8), "Negative"),
        (np.full(8, np.nan), "NaN"),
        (np.ones(5), "sample_weight.shape"),
        (np.zeros(8), r"non-zero|at least 2 rows"),
        (np.eye(8)[0], "at least 2 rows of a weight above 0, got 1"),
    ],
)
def test_weights_that_are_none_are_refused(
    estimator: type, weight: np.ndarray, message: str
) -> None:
    x, y = _data()
    with pytest.raises(ValueError, match=message):
        estimator(_linear(2)).fit(x, y > 0, sample_weight=weight)
