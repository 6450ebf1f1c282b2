"""Saved ensembles predict the same, bit for bit; what is no whole file of ours is refused."""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
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

import ensembles
from bayesnn.networks import Erf, FourierFeatures, NTKLinear, StandardLinear, mlp, with_prior
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    anchored,
    cross_entropy,
    deep_ensemble,
    gauss_newton,
    heteroscedastic,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    one_hot_regression,
    randomised_prior,
)
from ensembles.plain_data import decode, encode, known_objects
from ensembles.tensor_file import _digest
from ensembles.trainers.execution import Execution
from ensembles.trainers.held_out import early_stopping
from ensembles.trainers.schedules import constant, cosine, step_decay
from ensembles.trainers.sgd import sgd

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
    "anchored": lambda: fitted(small_net(), method=anchored()),
    "randomised prior": lambda: fitted(small_net(), method=randomised_prior()),
    "ntkgp-fn": lambda: fitted(small_net(), method=ntkgp_fn()),
    "ntkgp-lin": lambda: fitted(small_net(), method=ntkgp_lin()),
    "heteroscedastic": lambda: fitted(small_net(2), likelihood=heteroscedastic(scale=0.4)),
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


def edited(path: Path, change: Callable[[dict[str, Tensor], dict[str, str], Any], None]) -> None:
    """Write the file again with its tensors, header and content changed in place."""
    with safe_open(path, framework="pt") as opened:
        header = dict(opened.metadata())
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    content = json.loads(header["content"])
    change(tensors, header, content)
    header["content"] = json.dumps(content)
    header["sha256"] = _digest(tensors, header)  # as a faulty writer would, not as damage does
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


def with_version(version: str) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        header["version"] = version

    return change


def with_network(description: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content["network"]["description"] = description

    return change


def with_fitted(name: str, value: Any) -> Callable[..., None]:
    def change(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
        content["fitted"][name] = value

    return change


def without_content(tensors: dict[str, Tensor], header: dict[str, str], content: Any) -> None:
    content.clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_version("3"), "format version 3, .* install a newer bayesnn"),
        (with_version("1"), "format version 1, .* fit and save again"),
        (with_version("x"), "expected a version number"),
        (without("params_/0.weight"), "'params_/0.weight' is missing"),
        (without("shift_params_/direction/2.weight"), "'shift_params_/direction/2.weight' is"),
        (without("noise_std_"), "'noise_std_' is missing"),
        (without("standardizer_/x_mean"), "'standardizer_/x_mean' is missing"),
        (with_new_shape("params_/2.weight", (3, 8, 7)), "with '2.weight' of shape"),
        (without_content, "'estimator' is missing"),
        (with_content("estimator", "EnsembleClassifier"), "found 'EnsembleClassifier'; load it"),
        (with_content("network", {}), "'description' is missing"),
        (with_network({"type": "os.system"}), "'os.system' is unknown"),
        (with_network({"type": "Erf"}), "network: expected the one that was fitted"),
        (with_fitted("method_", {"object": "eval", "settings": {}}), "object 'eval' is unknown"),
        (with_fitted("method_", {"object": "adam", "settings": {"x": 1}}), "do not fit"),
        (with_fitted("method_", {"object": "adam"}), "'settings' is missing"),
        (with_fitted("method_", {"call": "eval"}), "description is damaged"),
        (with_fitted("y_dtype_", {"array_dtype": "no such type"}), "description is damaged"),
        (with_fitted("__class__", 3), "no name of a fitted attribute"),
        (with_fitted("fit", 3), "no name of a fitted attribute"),
        (with_content("fitted", {}), "'input_shape_' is missing"),
        (with_content("settings", []), "description is damaged"),
        (with_content("settings", {"no_such": 1}), "description is damaged"),
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
    for size in [0, 1, 7, 8, 9, 100, *range(200, len(data) - 1, len(data) // 60), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"empty|truncated") as caught:
            EnsembleRegressor.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data + b"more")
    with pytest.raises(ValueError, match="truncated"):
        EnsembleRegressor.load(path)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """In the header, in the description, in the numbers: 300 places spread over the file."""
    path = saved(fitted(small_net()), tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    places = np.unique(np.concatenate((np.arange(16), rng.integers(0, len(data), 300))))
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"damaged|truncated|expected a|newer") as caught:
            EnsembleRegressor.load(path)
        assert str(path) in str(caught.value)
    path.write_bytes(data)
    EnsembleRegressor.load(path)


LABELS: dict[str, list[Any]] = {
    "strings": ["Kälte", "cat", "dog"],
    "numbers": [3, 5, 8],
    "negative": [-1, 0, 1],
    "booleans": [False, True],
    "whole floats": [0.0, 1.0, 2.0],
}


def classifier(labels: Any, **settings: Any) -> EnsembleClassifier:
    chosen = {"n_members": 3, "random_state": 0, "trainer": adam(steps=5)}
    y = np.asarray(labels)[np.arange(30) % len(labels)]
    network = settings.pop("network", small_net(len(labels)))
    return EnsembleClassifier(network, **(chosen | settings)).fit(X, y)


CLASSIFIERS: dict[str, Callable[[], EnsembleClassifier]] = {
    **{name: lambda labels=labels: classifier(labels) for name, labels in LABELS.items()},
    "object labels": lambda: classifier(np.array(["a", "b"], dtype=object)),
    "one-hot": lambda: classifier([0, 1], likelihood=one_hot_regression(noise_std=0.2)),
    "temperature": lambda: classifier([0, 1], likelihood=cross_entropy(), temperature=1.7),
    "default network": lambda: classifier([0, 1], network=None),
    "deep ensemble": lambda: classifier([0, 1], method=deep_ensemble()),
}


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_a_loaded_classifier_predicts_the_same_bit_for_bit(case: str, tmp_path: Path) -> None:
    model = CLASSIFIERS[case]()
    path = tmp_path / "model.ens"
    model.save(path)
    again = EnsembleClassifier.load(path)
    assert type(again) is EnsembleClassifier
    assert vars(again).keys() == vars(model).keys()
    assert again.classes_.dtype == model.classes_.dtype
    assert np.array_equal(again.classes_, model.classes_)
    assert np.array_equal(again.predict_proba(X_NEW), model.predict_proba(X_NEW))
    assert np.array_equal(again.predict(X_NEW), model.predict(X_NEW))
    assert again.temperature_ == model.temperature_
    assert again.likelihood == model.likelihood
    again.fit(X, model.classes_[np.arange(30) % len(model.classes_)])
    assert np.array_equal(again.predict_proba(X_NEW), model.predict_proba(X_NEW))


def test_one_estimators_file_is_not_the_others(tmp_path: Path) -> None:
    path = saved(fitted(small_net()), tmp_path)
    with pytest.raises(ValueError, match="expected an EnsembleClassifier, found 'EnsembleRegres"):
        EnsembleClassifier.load(path)


def test_labels_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    days = np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]")
    model = classifier([0, 1])
    for labels in (days, np.array([b"a", b"b"]), days.astype(object)):
        model.classes_ = labels
        with pytest.raises(ValueError, match=r"classes: a file can hold numbers and strings only"):
            model.save(tmp_path / "model.ens")
    assert list(tmp_path.iterdir()) == []


def test_images_come_back(tmp_path: Path) -> None:
    images = RNG.standard_normal((12, 2, 3, 3))
    network = nn.Sequential(nn.Flatten(), NTKLinear(18, 8), nn.Tanh(), NTKLinear(8, 1))
    model = fitted(network, X=images, y=images[:, 0, 0, 0], standardize=True)
    again = EnsembleRegressor.load(saved(model, tmp_path))
    assert np.array_equal(again.predict(images), model.predict(images))
    with pytest.raises(ValueError, match=r"features|shape"):
        again.predict(images[..., :2])


def test_every_object_that_users_can_choose_has_a_name() -> None:
    """All that `ensembles` exports, and all that stands in its packages, comes back equal."""
    named = set(known_objects())
    for package in ("methods", "trainers", "likelihoods"):
        path = importlib.import_module(f"ensembles.{package}").__path__
        for module in pkgutil.iter_modules(path):
            if module.name == "update_kernels":  # kernels need triton, and hold no objects
                continue
            found = importlib.import_module(f"ensembles.{package}.{module.name}")
            for one in vars(found).values():
                if not isinstance(one, type) or one.__module__ != found.__name__:
                    continue
                chosen = {"shift", "train", "noise_variance", "loss"} & vars(one).keys()
                if chosen and hasattr(one, "__dataclass_fields__") and one not in named:
                    assert one.__name__ == "TrainingProblem", one  # what trainers are given
    needed = {"sgd": {"learning_rate": 0.1}}
    examples = 0
    for name in ensembles.__all__:
        function = getattr(ensembles, name)
        if isinstance(function, type) or getattr(function, "__module__", "").split(".")[1] not in {
            "methods", "trainers", "likelihoods",
        }:  # fmt: skip
            continue
        value = function(**needed.get(name, {}))
        examples += 1
        plain = json.loads(json.dumps(encode(value, name, {})))
        assert decode(plain, {}) == value
        assert type(decode(plain, {})) is type(value)
    assert examples >= 12


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, "x", (1, 2), [1, (2.0, None)], {"a": {"b": (1,)}}, torch.bfloat16,
        adam(steps=3, schedule=cosine(warmup=0.1), execution=Execution(autocast=torch.bfloat16)),
        sgd(learning_rate=0.1, schedule=step_decay(at=(0.1, 0.9))),
    ],
)  # fmt: skip
def test_values_come_back_through_json(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value, "x", {}))), {}) == value


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
