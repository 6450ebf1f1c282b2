"""Fits that go on: nothing moves on the same data, new members leave the old ones alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bayesnn.networks import Erf, mlp
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    anchored,
    deep_ensemble,
    gauss_newton,
    ntkgp_lin,
    ntkgp_param,
)
from ensembles.methods.protocol import Method

RNG = np.random.default_rng(0)
X = RNG.standard_normal((25, 2))
Y = np.sin(X[:, 0])
LABELS = np.where(Y > 0, "up", "down")


def network(out_features: int = 1) -> nn.Module:
    return mlp(in_features=2, out_features=out_features, width=16, depth=1, activation=Erf())


def regressor(**settings: Any) -> EnsembleRegressor:
    chosen = {
        "n_members": 3, "noise_std": 0.1, "random_state": 0, "warm_start": True,
        "trainer": gauss_newton(tolerance=1e-8),
    }  # fmt: skip
    return EnsembleRegressor(network(), **(chosen | settings))


def copied(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.params_.items()}


@pytest.mark.parametrize("method", [anchored(), ntkgp_param(), ntkgp_lin()], ids=lambda m: m.name)
def test_the_same_data_again_change_nothing_beyond_the_tolerance(method: Method) -> None:
    """The members are at their minimum already; a few steps do not leave it."""
    model = regressor(method=method).fit(X, Y)
    before, mean, steps = copied(model), model.predict(X), model.n_iter_
    model.fit(X, Y)
    for name, value in model.params_.items():
        torch.testing.assert_close(value, before[name], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.predict(X), mean, atol=1e-4 * np.std(Y))
    assert all(model.converged_)
    assert model.n_iter_ <= max(1, steps / 2)
    cold = regressor(method=method, warm_start=False).fit(X, Y)
    assert cold.fit(X, Y).n_iter_ == steps


def test_a_short_training_goes_on() -> None:
    """Two fits of few steps come nearer to the minimum than one; draws stay what they are."""
    full = regressor(method=anchored()).fit(X, Y)
    short = regressor(method=anchored(), trainer=gauss_newton(max_steps=2)).fit(X, Y)
    first = np.abs(short.predict(X) - full.predict(X)).max()
    for _ in range(20):
        short.fit(X, Y)
    assert np.abs(short.predict(X) - full.predict(X)).max() < 0.3 * first


@pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()], ids=lambda m: m.name)
def test_new_members_leave_the_old_ones_bit_for_bit(method: Method) -> None:
    trainer = adam(steps=20)
    model = regressor(method=method, trainer=trainer).fit(X, Y)
    before = copied(model)
    model.set_params(n_members=5).fit(X, Y)
    assert model.members_ == (0, 1, 2, 3, 4)
    assert len(model.converged_) == 5
    at_once = regressor(method=method, trainer=trainer, n_members=5, warm_start=False).fit(X, Y)
    for name, value in model.params_.items():
        assert torch.equal(value[:3], before[name])
        torch.testing.assert_close(value, at_once.params_[name], rtol=1e-9, atol=1e-9)
    for part, params in model.shift_params_.items():
        for name, value in params.items():
            assert torch.equal(value, at_once.shift_params_[part][name])
    np.testing.assert_allclose(model.predict(X), at_once.predict(X), rtol=1e-8)


def test_a_fit_without_a_seed_keeps_its_draws() -> None:
    model = regressor(random_state=None, trainer=adam(steps=5)).fit(X, Y)
    seed = model.seed_
    shift = {k: v.clone() for k, v in model.shift_params_["direction"].items()}
    model.fit(X, Y)
    assert model.seed_ == seed
    for name, value in model.shift_params_["direction"].items():
        assert torch.equal(value, shift[name])
    assert model.set_params(warm_start=False).fit(X, Y).seed_ != seed


def test_units_and_network_stay_with_new_data() -> None:
    model = EnsembleRegressor(
        n_members=2, noise_std=0.1, random_state=0, warm_start=True, trainer=adam(steps=5)
    ).fit(X, Y)
    units, held = model.standardizer_, copied(model)
    model.fit(5 + 3 * X[:20], 7 * Y[:20])
    assert model.standardizer_ is units
    assert model.params_.keys() == held.keys()
    assert not torch.equal(model.params_["0.weight"], held["0.weight"])
    assert np.isfinite(model.predict(X)).all()


def test_classes_stay() -> None:
    model = EnsembleClassifier(
        network(2), n_members=2, random_state=0, warm_start=True, temperature=1.0,
        trainer=adam(steps=5),
    ).fit(X, LABELS)  # fmt: skip
    before = copied(model)
    model.fit(X[:5], ["up"] * 5)
    assert model.classes_.tolist() == ["down", "up"]
    assert model.predict_proba(X).shape == (25, 2)
    assert not torch.equal(model.params_["0.weight"], before["0.weight"])
    with pytest.raises(ValueError, match=r"classes of the last fit .* got \['left'\] too"):
        model.fit(X, np.where(LABELS == "up", "left", "down"))
    model.set_params(n_members=3)
    held = copied(model)
    model.fit(X, LABELS)
    assert torch.equal(model.params_["0.weight"][:2], held["0.weight"])


class Explodes(nn.Module):
    """Members whose first weight is positive diverge."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inner(x)
        return torch.where(self.inner[0].weight[0, 0] > 0, y, torch.nan)  # type: ignore[index]


def test_members_that_diverged_start_again_and_others_keep_their_numbers() -> None:
    model = EnsembleRegressor(
        Explodes(), n_members=6, method=deep_ensemble(), noise_std=0.1, random_state=0,
        warm_start=True, trainer=adam(steps=2, learning_rate=1e-6),
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="of 6 diverged"):
        model.fit(X, Y)
    members, before = model.members_, copied(model)
    assert 1 < len(members) < 6
    model.set_params(n_members=10)
    with pytest.warns(RuntimeWarning, match=r"members \[(6|7|8|9).* of 4 diverged"):
        model.fit(X, Y)
    assert model.members_[: len(members)] == members
    assert all(number >= 6 for number in model.members_[len(members) :])
    for name, value in before.items():
        assert torch.equal(model.params_[name][: len(members)], value)
    with pytest.warns(RuntimeWarning, match="of 10 diverged"):
        model.fit(X, Y)
    assert model.members_[: len(members)] == members


def test_what_cannot_go_on_is_refused() -> None:
    model = regressor(trainer=adam(steps=2)).fit(X, Y)
    with pytest.raises(ValueError, match="n_members: expected at least the 3 of the last fit"):
        model.set_params(n_members=2).fit(X, Y)
    model.set_params(n_members=3)
    with pytest.raises(ValueError, match="method: expected that of the last fit, ntkgp_param"):
        model.set_params(method=deep_ensemble()).fit(X, Y)
    model.set_params(method=None)
    with pytest.raises(ValueError, match=r"X: expected points of shape \('n', 2\)"):
        model.fit(X[:, :1], Y)
    with pytest.raises(ValueError, match="y: expected 1 outputs"):
        model.fit(X, np.stack([Y, Y], axis=1))


def test_a_loaded_ensemble_goes_on(tmp_path: Path) -> None:
    model = regressor(trainer=adam(steps=3)).fit(X, Y)
    model.save(tmp_path / "model.ens")
    again = EnsembleRegressor.load(tmp_path / "model.ens")
    for one in (model, again):
        one.set_params(n_members=4).fit(X, Y).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
