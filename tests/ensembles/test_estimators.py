"""The regressor: the paper's toy, units, dtypes, bad input, scikit-learn's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from bayesnn.networks import Erf, NTKLinear, StandardLinear, mlp
from ensembles import EnsembleRegressor, adam, deep_ensemble, gauss_newton, ntkgp_param
from ensembles.methods.protocol import Method
from tests.ensembles.toy import NOISE, toy_data, toy_network, toy_ntkgp

QUICK = gauss_newton(max_steps=5)


def _small(**settings: Any) -> nn.Module:
    defaults = {"in_features": 2, "out_features": 1, "width": 8, "depth": 1, "activation": Erf()}
    return mlp(**(defaults | settings))


class _Mystery(nn.Module):
    """A network with a parameter that nobody gives a prior."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = NTKLinear(2, 1)
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x) + self.shift
        return y


def _data(n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 2))
    return x, np.sin(x[:, 0]) + 0.1 * rng.standard_normal(n)


def test_the_papers_toy_against_the_exact_posterior() -> None:
    """Width 512, 20 members, all settings at their defaults; figures averaged over [−6, 6].

    The standard error of a standard deviation from 20 members is 16 % of it, at each point.
    """
    x, y = toy_data(1)
    points = np.linspace(-6, 6, 25)[:, None]
    mean, std = toy_ntkgp(x, y, points)

    def fit(method: Method) -> tuple[np.ndarray, np.ndarray]:
        model = EnsembleRegressor(
            toy_network(512), method=method, n_members=20, noise_std=NOISE, random_state=0
        )
        # float32: the same figures in half the time
        post = model.fit(x.astype(np.float32), y).posterior(points.astype(np.float32))
        assert all(model.converged_)
        return post.mean.numpy(), post.epistemic_variance.sqrt().numpy()

    ours, ours_std = fit(ntkgp_param())
    _, deep_std = fit(deep_ensemble())
    assert (ours_std[[0, -1]] > 1.5 * deep_std[[0, -1]]).all()
    assert np.mean(np.abs(ours - mean) / std) < 0.5
    assert 0.8 < np.mean(ours_std / std) < 1.2
    assert np.mean(deep_std / std) < 0.85


def test_results_are_in_units_of_y() -> None:
    """Other units of X and y change nothing but the units, when standardised."""
    x, y = _data()
    settings = {"n_members": 3, "standardize": True, "random_state": 0, "trainer": QUICK}
    plain = EnsembleRegressor(_small(), noise_std=0.1, **settings).fit(x, y).posterior(x)
    scaled = EnsembleRegressor(_small(), noise_std=100.0, **settings)
    post = scaled.fit(7 * x - 3, 1000 * y + 5e6).posterior(7 * x - 3)
    torch.testing.assert_close(post.mean, 1000 * plain.mean + 5e6)
    torch.testing.assert_close(
        post.epistemic_variance, 1e6 * plain.epistemic_variance, rtol=1e-5, atol=0
    )
    torch.testing.assert_close(post.noise_variance, 1e6 * plain.noise_variance)


def test_noise_is_estimated_from_the_data() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-2, 2, (300, 1))
    y = np.stack((np.sin(x[:, 0]), np.cos(x[:, 0])), axis=1)
    y += rng.standard_normal(y.shape) * [0.05, 0.3]
    network = _small(in_features=1, out_features=2, width=64)
    model = EnsembleRegressor(network, n_members=2, trainer=adam(steps=1), random_state=0)
    found = model.fit(x, y).noise_std_.numpy()
    # the standard error of σ is σ/√(2n) = 4 % of it
    np.testing.assert_allclose(found, [0.05, 0.3], rtol=0.15)
    twice = model.fit(np.concatenate((x, x)), np.concatenate((y, y))).noise_std_.numpy()
    np.testing.assert_allclose(twice, [0.05, 0.3], rtol=0.15)


@pytest.mark.parametrize("n_outputs", [None, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_dtypes_follow_y(n_outputs: int | None, dtype: type) -> None:
    x, y = _data()
    y = (y if n_outputs is None else np.stack([y] * n_outputs, axis=1)).astype(dtype)
    network = _small(out_features=n_outputs or 1)
    model = EnsembleRegressor(network, n_members=3, noise_std=0.1, trainer=QUICK, random_state=0)
    mean, std = model.fit(x.astype(dtype), y).predict(x.astype(dtype), return_std=True)
    assert mean.shape == std.shape == y.shape
    assert mean.dtype == std.dtype == dtype
    assert next(iter(model.params_.values())).dtype == torch.from_numpy(y).dtype
    post = model.posterior(x, keep_members=True)
    assert post.members is not None
    assert post.members.shape == (3, *y.shape)


def test_outputs_weigh_by_their_own_noise() -> None:
    """Two linear outputs that share no parameters are two ridge regressions, each with its σ.

    The members' mean has a standard error of at most the prior's 2/√m; the draws are fixed.
    """
    x, y = _data()
    both, noise = np.stack((y, 3 * y[::-1]), axis=1), np.array([0.1, 2.0])
    model = EnsembleRegressor(
        NTKLinear(2, 2, bias_std=0.5), n_members=400, noise_std=noise, random_state=0,
        trainer=gauss_newton(tolerance=1e-10),
    ).fit(x, both)  # fmt: skip
    gram = 1.5**2 / 2 * x @ x.T + 0.5**2
    for j in range(2):
        smoother = gram @ np.linalg.inv(gram + noise[j] ** 2 * np.eye(len(x)))
        std = np.sqrt(np.diag(gram - smoother @ gram))
        error = model.predict(x)[:, j] - smoother @ both[:, j]
        assert (np.abs(error) < 5 * std / np.sqrt(400)).all()


def test_fit_changes_neither_network_nor_global_state() -> None:
    x, y = _data()
    network = _small()
    before = {name: p.clone() for name, p in network.named_parameters()}
    state = torch.random.get_rng_state()
    EnsembleRegressor(network, n_members=2, noise_std=0.1, trainer=QUICK, random_state=0).fit(x, y)
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())
    assert next(network.parameters()).dtype == torch.float32
    assert torch.equal(state, torch.random.get_rng_state())


def test_torch_tensors_and_chunks_change_nothing() -> None:
    x, y = _data()
    model = EnsembleRegressor(_small(), n_members=3, noise_std=0.1, trainer=QUICK, random_state=0)
    whole = model.fit(x, y).posterior(x)
    model.fit(torch.tensor(x), torch.tensor(y))
    model.memory_budget = 1  # one point at a time
    pieces = model.posterior(torch.tensor(x))
    torch.testing.assert_close(pieces.mean, whole.mean)
    torch.testing.assert_close(pieces.epistemic_variance, whole.epistemic_variance)


def test_the_parametrisation_does_not_matter() -> None:
    x, y = _data()
    means = [
        EnsembleRegressor(
            _small(linear=linear), n_members=3, noise_std=0.1, random_state=0, trainer=trainer
        )
        .fit(x, y)
        .predict(x)
        for linear in (NTKLinear, StandardLinear)
        for trainer in (gauss_newton(max_steps=20), adam(steps=20))
    ]
    np.testing.assert_allclose(means[0], means[2], rtol=1e-5)
    np.testing.assert_allclose(means[1], means[3], rtol=1e-5)


class _Explodes(nn.Module):
    """A network that overflows for parameters beyond a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = NTKLinear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return torch.where(self.linear.weight[0, 0] > 0, y, torch.nan)


@pytest.mark.parametrize("trainer", [QUICK, adam(steps=3, learning_rate=1e-6)])
def test_a_member_that_diverges_is_named_and_spoils_no_other(trainer: object) -> None:
    x, y = _data()
    model = EnsembleRegressor(
        _Explodes(), n_members=6, method=deep_ensemble(), noise_std=0.1, trainer=trainer,
        random_state=0,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match=r"members \[.*\] of 6 diverged"):
        model.fit(x, y)
    assert 1 < len(model.members_) < 6
    assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise_std": 0.0}, "noise_std"),
        ({"noise_std": [0.1, 0.2]}, "noise_std: expected one number or 1"),
        ({"n_members": 0}, "n_members"),
        ({"network": _small(in_features=3)}, "in_features=2"),
        ({"network": _small(out_features=2)}, "out_features=1"),
        ({"network": _Mystery()}, "the prior of 'shift' is unknown"),
        ({"device": "nowhere"}, "device"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    x, y = _data()
    quick = {"network": _small(), "noise_std": 0.1, "trainer": QUICK, "n_members": 2}
    with pytest.raises(ValueError, match=message):
        EnsembleRegressor(**(quick | settings)).fit(x, y)


def test_bad_data_are_refused() -> None:
    x, y = _data()
    model = EnsembleRegressor(_small(), noise_std=0.1, n_members=2, trainer=QUICK)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(x > 1, np.nan, x), y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(x, y[:-1])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(x, np.where(y > 0.5, np.nan, y))
    with pytest.raises(ValueError, match="features"):
        model.fit(x, y).predict(x[:, :1])


def test_one_member_predicts_but_has_no_spread() -> None:
    x, y = _data()
    model = EnsembleRegressor(_small(), noise_std=0.1, n_members=1, trainer=QUICK).fit(x, y)
    assert model.predict(x).shape == y.shape
    with pytest.raises(ValueError, match="member"):
        model.predict(x, return_std=True)


def test_clone_keeps_the_settings() -> None:
    model = EnsembleRegressor(_small(), method=deep_ensemble(), noise_std=0.1, trainer=QUICK)
    copy = clone(model)
    assert copy.method == deep_ensemble()
    assert copy.trainer == QUICK
    assert copy.set_params(n_members=4).get_params()["n_members"] == 4


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run")
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks() -> None:
    # repeated rows draw different noise; the law in distribution is in test_sample_weight.py
    declared = {"check_sample_weight_equivalence_on_dense_data": "targets are perturbed"}
    results = check_estimator(
        EnsembleRegressor(n_members=3), on_fail=None, expected_failed_checks=declared
    )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed
    assert len(results) > 40
