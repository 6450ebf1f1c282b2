"""Saved regressors predict the same, bit for bit, and come back as they were."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

from bayesnn.networks import Erf, FourierFeatures, NTKLinear, StandardLinear, mlp, with_prior
from ensembles import (
    EnsembleRegressor,
    adam,
    anchored,
    deep_ensemble,
    gauss_newton,
    heteroscedastic,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    randomised_prior,
    student_t,
)
from ensembles.trainers.execution import Execution
from ensembles.trainers.held_out import early_stopping
from ensembles.trainers.schedules import constant, step_decay
from ensembles.trainers.sgd import sgd
from tests.ensembles.stored import RNG, X_NEW, X, Y, fitted, saved, small_net


def fourier_net() -> nn.Module:
    return nn.Sequential(
        FourierFeatures(2, 6, frequency_std=1.0), NTKLinear(12, 8), nn.Tanh(), NTKLinear(8, 1)
    )


def frozen_net() -> nn.Module:
    network = small_net()
    for parameter in network[0].parameters():  # type: ignore[index]
        parameter.requires_grad = False
    return network


class Bent(nn.Module):
    """Nothing that a file can describe, with a buffer that is in no state dict."""

    def __init__(self, bend: float = 0.3) -> None:
        super().__init__()
        self.register_buffer("bend", torch.tensor(bend), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) + self.bend * x


def bent_net(bend: float = 0.3) -> nn.Module:
    return nn.Sequential(NTKLinear(2, 8), Bent(bend), NTKLinear(8, 1))


CASES: dict[str, Callable[[], EnsembleRegressor]] = {
    "default network": lambda: fitted(None),
    "defaults throughout": lambda: fitted(None, trainer=None, noise_std=None, n_members=2),
    "deep ensemble": lambda: fitted(small_net(), method=deep_ensemble()),
    "ntkgp": lambda: fitted(small_net(), method=ntkgp_param(), standardize=True),
    "standard parametrisation": lambda: fitted(small_net(linear=StandardLinear)),
    "fourier features": lambda: fitted(fourier_net()),
    "frozen layer": lambda: fitted(frozen_net()),
    "two outputs": lambda: fitted(small_net(2), y=np.stack([Y, -Y], 1), noise_std=[0.1, 0.2]),
    "noise estimated": lambda: fitted(small_net(), noise_std=None),
    "float32": lambda: fitted(small_net(), y=Y.astype(np.float32)),
    "second order": lambda: fitted(small_net(), trainer=gauss_newton(max_steps=3)),
    "one member": lambda: fitted(small_net(), n_members=1),
    "anchored": lambda: fitted(small_net(), method=anchored()),
    "randomised prior": lambda: fitted(small_net(), method=randomised_prior()),
    "ntkgp-fn": lambda: fitted(small_net(), method=ntkgp_fn()),
    "ntkgp-lin": lambda: fitted(small_net(), method=ntkgp_lin()),
    "heteroscedastic": lambda: fitted(small_net(2), likelihood=heteroscedastic(scale=0.4)),
    "student_t": lambda: fitted(small_net(2), likelihood=student_t(degrees_of_freedom=3, beta=0.0)),
    "sgd": lambda: fitted(
        small_net(),
        trainer=sgd(
            learning_rate=0.01, steps=4, schedule=step_decay(), execution=Execution(tf32=True)
        ),
    ),
    "early stopping": lambda: fitted(
        small_net(), trainer=adam(steps=4, schedule=constant(), early_stopping=early_stopping())
    ),
    "prior and read-out": lambda: fitted(
        small_net(), prior_precision={"0.weight": 2.0, "0.bias": torch.full((8,), 3.0)},
        readout="4", memory_budget=10**6, verbose=False,
    ),
    "declared network": lambda: fitted(with_prior(small_net(), precision={"2": 0.5}, readout="4")),
}  # fmt: skip


@functools.cache
def case_model(case: str) -> EnsembleRegressor:
    return CASES[case]()


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_ensemble_predicts_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    model = case_model(case)
    again = EnsembleRegressor.load(saved(model, tmp_path))
    before = model.posterior(X_NEW, keep_members=True)
    after = again.posterior(X_NEW, keep_members=True)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.noise_variance, after.noise_variance)
    assert before.n_members == after.n_members
    assert before.members is not None
    assert after.members is not None
    assert torch.equal(before.members, after.members)
    assert before.mean.dtype == after.mean.dtype
    assert again.predict(X_NEW).dtype == model.predict(X_NEW).dtype


@pytest.mark.parametrize("case", CASES)
def test_settings_and_fitted_attributes_come_back(case: str, tmp_path: Path) -> None:
    model = case_model(case)
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert vars(again).keys() == vars(model).keys()
    for name, value in model.get_params(deep=False).items():
        if name == "prior_precision" and value is not None:
            assert {k: torch.as_tensor(v).tolist() for k, v in value.items()} == {
                k: torch.as_tensor(v).tolist() for k, v in again.prior_precision.items()
            }
        elif name != "network":
            assert getattr(again, name) == value
    assert (again.network is None) == (model.network is None)
    assert again.method_ == model.method_
    assert again.members_ == model.members_
    assert again.converged_ == model.converged_
    assert not any(p.requires_grad for p in again.params_.values())
    dtypes = [[p.dtype for p in one.network_.parameters()] for one in (model, again)]
    assert dtypes[0] == dtypes[1]
    assert clone(again).get_params().keys() == model.get_params().keys()


@pytest.mark.parametrize(
    "case",
    ["default network", "ntkgp", "fourier features", "prior and read-out", "declared network"],
)
def test_a_loaded_ensemble_fits_the_same_again(case: str, tmp_path: Path) -> None:
    model = case_model(case)
    again = EnsembleRegressor.load(saved(model, tmp_path)).fit(X, Y)
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))


def test_column_names_come_back(tmp_path: Path) -> None:
    table = pd.DataFrame(X, columns=["width", "height"])
    model = fitted(small_net(), X=table)
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert list(again.feature_names_in_) == ["width", "height"]
    assert np.array_equal(again.predict(table), model.predict(table))


def test_a_random_state_in_mid_use_is_left_out(tmp_path: Path) -> None:
    model = fitted(small_net(), random_state=np.random.RandomState(3))
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert again.random_state is None
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))


def test_saving_changes_neither_the_model_nor_the_network(tmp_path: Path) -> None:
    network = fourier_net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = fitted(network)
    mean = model.predict(X_NEW)
    path = saved(model, tmp_path)
    EnsembleRegressor.load(path, network=network)
    assert np.array_equal(model.predict(X_NEW), mean)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_that_no_file_describes_is_asked_for(tmp_path: Path) -> None:
    model = fitted(bent_net())
    path = saved(model, tmp_path)
    with pytest.raises(ValueError, match=r"Sequential, has modules.*network="):
        EnsembleRegressor.load(path)
    # its constants come from the file, whatever the new one holds
    again = EnsembleRegressor.load(path, network=bent_net(bend=0.9))
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))


def test_a_given_network_must_be_the_one_that_was_fitted(tmp_path: Path) -> None:
    path = saved(fitted(small_net()), tmp_path)
    EnsembleRegressor.load(path, network=small_net())
    wider = mlp(in_features=2, out_features=1, width=9, depth=2, activation=Erf())
    deeper = mlp(in_features=2, out_features=1, width=8, depth=3, activation=Erf())
    for wrong in (wider, deeper, fourier_net(), small_net(bias_std=0.0)):
        with pytest.raises(ValueError, match=r"network: expected the one that was fitted, with"):
            EnsembleRegressor.load(path, network=wrong)
    relu = mlp(in_features=2, out_features=1, width=8, depth=2, activation=nn.ReLU())
    for wrong in (relu, small_net(weight_std=1.0), frozen_net()):
        with pytest.raises(ValueError, match=r"network: expected the one that was fitted"):
            EnsembleRegressor.load(path, network=wrong)


class HomeMade(type(deep_ensemble())):  # type: ignore[misc]
    pass


def test_a_method_that_no_file_can_name_is_refused_before_writing(tmp_path: Path) -> None:
    model = fitted(small_net(), method=HomeMade())
    with pytest.raises(ValueError, match=r"method: a file can name deep_ensemble, .* got HomeMade"):
        model.save(tmp_path / "model.ens")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = fitted(small_net())
    with pytest.raises(ValueError, match="does not exist"):
        model.save(tmp_path / "missing" / "model.ens")
    with pytest.raises(ValueError, match="found a folder"):
        model.save(tmp_path)


def test_images_come_back(tmp_path: Path) -> None:
    images = RNG.standard_normal((12, 2, 3, 3))
    network = nn.Sequential(nn.Flatten(), NTKLinear(18, 8), nn.Tanh(), NTKLinear(8, 1))
    model = fitted(network, X=images, y=images[:, 0, 0, 0], standardize=True)
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert np.array_equal(again.predict(images), model.predict(images))
    with pytest.raises(ValueError, match=r"features|shape"):
        again.predict(images[..., :2])


def test_a_trainer_of_the_users_own_becomes_the_default(tmp_path: Path) -> None:
    """It is not needed to predict; a method is."""
    model = fitted(small_net(), trainer=adam(steps=2, schedule=lambda _: 1.0))
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert again.trainer is None
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))


def test_a_network_that_holds_constants_fixed_comes_back(tmp_path: Path) -> None:
    """A LayerNorm's scale starts at 1: the fitted copy holds it, the user's network does not."""

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))

    path = tmp_path / "model.ens"
    model = fitted(network(), readout="3")
    model.save(path)
    again = EnsembleRegressor.load(path, network=network())
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))
    assert np.array_equal(again.fit(X, Y).predict(X_NEW), model.predict(X_NEW))
