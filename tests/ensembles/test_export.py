"""Exported programs say what the ensemble says, for any number of points, without the package."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, FourierFeatures, NTKLinear, mlp
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    anchored,
    deep_ensemble,
    heteroscedastic,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
    one_hot_regression,
    randomised_prior,
    student_t,
)
from ensembles.methods.protocol import Method
from ensembles.tracing import trace_any_length

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))
Y = np.sin(X[:, 0]) + 5
METHODS = [
    deep_ensemble(), anchored(), randomised_prior(), ntkgp_param(), ntkgp_fn(), ntkgp_lin(),
]  # fmt: skip


def small(out_features: int = 1, **settings: Any) -> nn.Module:
    chosen = {"in_features": 3, "out_features": out_features, "width": 8, "depth": 1}
    return mlp(**(chosen | {"activation": Erf()} | settings))


def regressor(
    network: nn.Module, x: np.ndarray = X, y: np.ndarray = Y, **settings: Any
) -> EnsembleRegressor:
    chosen = {"n_members": 3, "noise_std": 0.1, "random_state": 0, "trainer": adam(steps=3)}
    return EnsembleRegressor(network, **(chosen | settings)).fit(x, y)


def agree(model: EnsembleRegressor, points: Callable[[int], np.ndarray], program: Any) -> None:
    module = program.module()
    for n in (1, 2, 50):
        x = points(n)
        mean, std = model.predict(x, return_std=True)
        found = module(torch.tensor(x))
        np.testing.assert_allclose(found[0], mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[1], std, rtol=1e-10, atol=1e-12)


def table(n: int) -> np.ndarray:
    return 3 * RNG.standard_normal((n, 3))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_every_method_is_exported(method: Method) -> None:
    model = regressor(small(), method=method, standardize=True)
    agree(model, table, model.export())


CASES: dict[str, Callable[[], EnsembleRegressor]] = {
    "two outputs": lambda: regressor(small(2), y=np.stack([Y, -9 * Y], 1)),
    "heteroscedastic": lambda: regressor(small(2), likelihood=heteroscedastic()),
    "student_t": lambda: regressor(small(2), likelihood=student_t()),
    "frozen features": lambda: regressor(
        nn.Sequential(FourierFeatures(3, 5, frequency_std=1.0), NTKLinear(10, 1))
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_regression_is_exported(case: str) -> None:
    model = CASES[case]()
    agree(model, table, model.export())


class Attention(nn.Module):
    """A block of self-attention over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (NTKLinear(4, 4) for _ in range(3))
        self.readout = NTKLinear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.query(x) @ self.key(x).mT).softmax(-1)
        result: Tensor = self.readout(torch.tanh(weights @ self.value(x)).mean(1))
        return result


@pytest.mark.parametrize("kind", ["convolutions", "attention"])
def test_networks_on_images_and_tokens_are_exported(kind: str) -> None:
    shape = (1, 6, 6) if kind == "convolutions" else (5, 4)
    network = Attention()
    if kind == "convolutions":
        network = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            NTKLinear(27, 1),
        )  # fmt: skip
    x = RNG.standard_normal((12, *shape))
    model = regressor(network, x, x.reshape(12, -1)[:, 0], readout=None)
    agree(model, lambda n: RNG.standard_normal((n, *shape)), model.export())


@pytest.mark.parametrize("settings", [{}, {"likelihood": one_hot_regression(noise_std=0.3)}])
def test_classes_are_exported(settings: dict[str, Any]) -> None:
    labels = np.array(["a", "b", "c"])[np.arange(20) % 3]
    model = EnsembleClassifier(
        small(3), n_members=3, temperature=1.5, random_state=0, trainer=adam(steps=3), **settings
    ).fit(X, labels)
    module = model.export().module()
    for n in (1, 30):
        x = table(n)
        np.testing.assert_allclose(module(torch.tensor(x)), model.predict_proba(x), rtol=1e-10)


ELSEWHERE = """
import sys, json, torch
blocked = ("bayesnn", "ensembles", "ct")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
module = torch.export.load(sys.argv[1]).module()
x = torch.tensor(json.loads(sys.argv[2]), dtype=torch.float64)
print(json.dumps([part.tolist() for part in module(x)]))
"""


def test_a_program_runs_in_another_process_without_this_package(tmp_path: Path) -> None:
    model = regressor(small(), method=ntkgp_param(), standardize=True)
    path = tmp_path / "model.pt2"
    model.export(path)
    x = table(3)
    command = [sys.executable, "-c", ELSEWHERE, str(path), json.dumps(x.tolist())]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    found = np.array(json.loads(out.stdout))
    np.testing.assert_allclose(found, model.predict(x, return_std=True), rtol=1e-10)
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt2"]
    with zipfile.ZipFile(path) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert str(Path(__file__).parents[2]).encode() not in text  # no paths of this machine


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="export: one member has no spread"):
        regressor(small(), n_members=1).export()
    model = regressor(small())
    with pytest.raises(ValueError, match=r"ends in \.pt2"):
        model.export(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="does not exist"):
        model.export(tmp_path / "missing" / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_operations_that_depend_on_the_number_of_points_are_refused() -> None:
    x = torch.zeros(1, 3)
    bad: list[Callable[[Tensor], tuple[Tensor]]] = [
        lambda p: (p * (1.0 / len(p)),),  # a number that is not a size
        lambda p: (p.new_ones(len(p) ** 2, 2)[: len(p)] + p.sum(),),
        lambda p: (p + p.mean(0) if len(p) > 8 else p,),
    ]
    for function in bad:
        with pytest.raises(ValueError, match="its operations must be the same"):
            trace_any_length(function, [], x)


def test_operations_that_depend_on_values_are_refused() -> None:
    with pytest.raises(ValueError, match="depends on values"):
        trace_any_length(lambda p: (p if bool(p.sum() > 0) else -p,), [], torch.zeros(1, 3))


def test_traces_hold_for_any_length() -> None:
    """Sizes that are multiples of the length, and numbers that happen to be like the length."""
    weight = torch.arange(77.0).reshape(7, 11)

    def function(weight: Tensor, p: Tensor) -> tuple[Tensor, ...]:
        wide = p.repeat(4, 1).reshape(4, len(p), 7).sum(0) @ weight
        return wide, p.reshape(-1).reshape(len(p), 7) * 7 + p.new_zeros(len(p), 1)

    traced = trace_any_length(function, [weight], torch.zeros(1, 7))
    for n in (1, 3, 7, 11, 40):
        p = torch.randn(n, 7, generator=torch.Generator().manual_seed(n))
        for found, expected in zip(traced(weight, p), function(weight, p), strict=True):
            torch.testing.assert_close(found, expected)
