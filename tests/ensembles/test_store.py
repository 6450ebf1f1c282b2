"""Saved ensembles predict the same, bit for bit; what is no whole file of ours is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from torch import Tensor, nn

from bayesnn.networks import Erf, FourierFeatures, NTKLinear, StandardLinear, mlp
from ensembles import EnsembleRegressor, deep_ensemble, ntkgp_param
from ensembles.trainers.adam import adam
from ensembles.trainers.gauss_newton import gauss_newton

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, size=(30, 2))
Y = np.sin(X[:, 0]) + X[:, 1] ** 2
X_NEW = RNG.uniform(-4, 4, size=(50, 2))


def small_net(out_features: int = 1, **settings: Any) -> nn.Module:
    return mlp(
        in_features=2, out_features=out_features, width=8, depth=2, activation=Erf(), **settings
    )


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


def fitted(network: nn.Module | None, **settings: Any) -> EnsembleRegressor:
    chosen = {"n_members": 3, "noise_std": 0.1, "random_state": 0, "trainer": adam(steps=5)}
    table, y = settings.pop("X", X), settings.pop("y", Y)
    return EnsembleRegressor(network, **(chosen | settings)).fit(table, y)


def saved(model: EnsembleRegressor, folder: Path) -> Path:
    path = folder / "model.ens"
    model.save(path)
    return path


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
}


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_ensemble_predicts_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
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
    model = CASES[case]()
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert vars(again).keys() == vars(model).keys()
    for name in ("n_members", "noise_std", "standardize", "random_state", "trainer"):
        assert getattr(again, name) == getattr(model, name)
    assert (again.network is None) == (model.network is None)
    assert again.method_ == model.method_
    assert again.members_ == model.members_
    assert again.converged_ == model.converged_
    assert not any(p.requires_grad for p in again.params_.values())
    dtypes = [[p.dtype for p in one.network_.parameters()] for one in (model, again)]
    assert dtypes[0] == dtypes[1]
    assert clone(again).get_params().keys() == model.get_params().keys()


@pytest.mark.parametrize("case", ["default network", "ntkgp", "fourier features"])
def test_a_loaded_ensemble_fits_the_same_again(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
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
    with pytest.raises(ValueError, match=r"deep_ensemble, .*ntkgp_lin only, got HomeMade"):
        model.save(tmp_path / "model.ens")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = fitted(small_net())
    with pytest.raises(ValueError, match="does not exist"):
        model.save(tmp_path / "missing" / "model.ens")
    with pytest.raises(ValueError, match="found a folder"):
        model.save(tmp_path)


def edited(path: Path, change: Callable[[dict[str, Tensor], dict[str, str], Any], None]) -> None:
    """Write the file again with its tensors, header and content changed in place."""
    with safe_open(path, framework="pt") as opened:
        header = dict(opened.metadata())
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    content = json.loads(header["content"])
    change(tensors, header, content)
    header["content"] = json.dumps(content)
    save_file(tensors, path, metadata=header)


def with_new_shape(name: str, shape: tuple[int, ...]) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        tensors[name] = torch.zeros(shape)

    return change


def without(name: str) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        del tensors[name]

    return change


def with_content(key: str, value: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content[key] = value

    return change


def newer(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
    header["version"] = "2"


def without_content(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
    content.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (newer, "format version 2"),
        (without("params/0.weight"), "'params/0.weight' is missing"),
        (without("shift/direction/2.weight"), "'shift/direction/2.weight' is missing"),
        (without("noise_std"), "'noise_std' is missing"),
        (without("standardizer/x_mean"), "'standardizer/x_mean' is missing"),
        (with_new_shape("params/2.weight", (3, 8, 7)), "'params/2.weight' to have the shape"),
        (with_new_shape("noise_std", (2,)), "'noise_std' to have the shape"),
        (without_content, "'shapes' is missing"),
        (with_content("network", {"type": "os.system"}), "'os.system' is unknown"),
        (with_content("network", {"type": "Erf"}), "network: expected the one that was fitted"),
        (with_content("method", {"name": "eval", "settings": {}}), "method 'eval' is unknown"),
        (with_content("method", {"name": "ntkgp_param", "settings": {"x": 1}}), "do not fit"),
        (with_content("method", None), "description is damaged"),
        (with_content("settings", []), "description is damaged"),
        (with_content("y_dtype", "no such type"), "description is damaged"),
    ],
)
def test_damaged_files_are_refused(
    change: Callable[..., None], message: str, tmp_path: Path
) -> None:
    path = saved(fitted(small_net()), tmp_path)
    edited(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        EnsembleRegressor.load(path)
    assert str(path) in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = saved(fitted(small_net()), tmp_path)
    data = path.read_bytes()
    for size in [0, 1, 7, 8, 100, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"empty|truncated"):
            EnsembleRegressor.load(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        EnsembleRegressor.load(tmp_path / "none.ens")
    foreign = tmp_path / "foreign.ens"
    foreign.write_bytes(b"PK\x03\x04 not ours" * 10)
    with pytest.raises(ValueError, match="not a bayesnn-ensemble file"):
        EnsembleRegressor.load(foreign)
    save_file({"a": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="expected a bayesnn-ensemble file"):
        EnsembleRegressor.load(foreign)
