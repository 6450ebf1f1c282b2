"""What a fitted regressor predicts with: any source of points, little memory, joint covariances."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bayesnn.networks import Erf, NTKLinear, mlp
from ensembles import EnsembleRegressor, adam, deep_ensemble, ntkgp_param
from ensembles.estimators import base
from ensembles.memory import peak_memory

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
Y = np.sin(X[:, 0])
X_NEW = RNG.standard_normal((40, 3))


def fitted(
    out_features: int = 1, width: int = 16, x: Any = X, y: Any = Y, **settings: Any
) -> EnsembleRegressor:
    network = mlp(
        in_features=3, out_features=out_features, width=width, depth=2, activation=Erf()
    )  # fmt: skip
    defaults = {"n_members": 4, "noise_std": 0.1, "random_state": 0, "trainer": adam(steps=3)}
    return EnsembleRegressor(network, **(defaults | settings)).fit(x, y)


def mapped(folder: Path, values: np.ndarray) -> np.memmap:
    np.save(folder / "x.npy", values)
    found = np.load(folder / "x.npy", mmap_mode="r")
    assert isinstance(found, np.memmap)
    return found


def test_every_source_of_points_predicts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted()
    monkeypatch.setattr("ensembles.batches.READ_BYTES", 7 * 3 * 8)
    expected = model.posterior(X_NEW)
    table = TensorDataset(torch.tensor(X_NEW), torch.zeros(40))
    sources: list[Any] = [
        torch.tensor(X_NEW),
        mapped(tmp_path, X_NEW),
        DataLoader(table, batch_size=9),
        (batch for batch in np.array_split(X_NEW, 6)),
        X_NEW.tolist(),
        pd.DataFrame(X_NEW),
    ]
    for source in sources:
        found = model.posterior(source)
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.epistemic_variance, expected.epistemic_variance)
        assert found.noise_variance.shape == (40,)


def test_a_bad_part_of_a_mapped_file_is_named(tmp_path: Path) -> None:
    broken = X_NEW.copy()
    broken[17, 0] = np.inf
    with pytest.raises(ValueError, match=r"X, rows 0 to 39: Input X contains infinity"):
        fitted().predict(mapped(tmp_path, broken))
    with pytest.raises(ValueError, match=r"X, batch 1: X has 2 features, but EnsembleRegressor"):
        fitted().predict(iter([X_NEW, X_NEW[:, :2]]))


def test_one_row_needs_no_validation_by_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take longer than the network; what is wrong is still found."""
    model = fitted()
    expected = model.predict(X_NEW)[:1]

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("slow")

    with monkeypatch.context() as patch:
        patch.setattr(base, "validate_data", refuse)
        for row in (X_NEW[:1], torch.tensor(X_NEW[:1])):
            np.testing.assert_allclose(model.predict(row), expected)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        model.predict(X_NEW[0])
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(X_NEW[:1, :2])


def test_column_names_are_compared_at_every_prediction() -> None:
    names = ["a", "b", "c"]
    model = fitted(x=pd.DataFrame(X, columns=names))
    expected = model.predict(pd.DataFrame(X_NEW, columns=names))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(X_NEW), expected)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(X_NEW, columns=["b", "a", "c"]))


@pytest.mark.parametrize("method", [deep_ensemble(), ntkgp_param()])
def test_memory_grows_by_the_results_alone(method: Any) -> None:
    """All that lives at one time, beyond the inputs: a chunk, and the moments in float64."""
    budget = 2**20
    model = fitted(width=64, method=method, memory_budget=budget)
    few, many = np.zeros((500, 3)), np.zeros((3_000, 3))
    model.predict(few)  # the probe
    peaks = [peak_memory(lambda x=x: model.predict(x, return_std=True)) for x in (few, many)]
    assert peaks[1] - peaks[0] < 10 * (3_000 - 500) * 8
    at_once = 2 * 4 * 64 * 3_000 * 8  # one layer's values of all members, before and after
    assert peaks[1] < budget + 10 * 3_000 * 8 < at_once / 8


MEASURE = """
import resource, sys
import numpy as np, torch
from bayesnn.networks import Erf, mlp
from ensembles import EnsembleRegressor, adam, ntkgp_param
torch.set_num_threads(1)
n = int(sys.argv[1])
network = mlp(in_features=8, out_features=1, width=512, depth=2, activation=Erf())
x = np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32)
model = EnsembleRegressor(network, method=ntkgp_param(), n_members=20, noise_std=0.1,
                          trainer=adam(steps=1), random_state=0)
model.fit(x[:20], x[:20, 0])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.predict(x, return_std=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_the_processs_memory_does_not_grow_with_the_points() -> None:
    """20 members of an MLP 2×512, whose activations at 8,000 points would take 1.3 GB."""
    grown = []
    for n in (1_000, 8_000):
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, str(n)], check=True, capture_output=True, text=True
        )
        grown.append(int(out.stdout) * 1024)
    assert grown[1] < grown[0] + 100e6
    assert grown[1] < 1e9


class Pooled(nn.Module):
    """A small convolutional network: few parameters, many activations."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = NTKLinear(2, 8)
        self.readout = NTKLinear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.readout(torch.erf(self.mix(x.movedim(1, -1))).mean((1, 2)))
        return result


def test_images_are_predicted_within_the_budget(tmp_path: Path) -> None:
    images = RNG.standard_normal((60, 2, 12, 12))
    budget = 2**20
    model = EnsembleRegressor(
        Pooled(), n_members=4, noise_std=0.1, random_state=0, trainer=adam(steps=2),
        memory_budget=budget,
    ).fit(images[:10], images[:10, 0, 0, 0])  # fmt: skip
    expected = model.predict(images)
    assert expected.shape == (60,)
    assert peak_memory(lambda: model.predict(images)) < 1.2 * budget
    np.testing.assert_allclose(model.predict(mapped(tmp_path, images)), expected)
    model.memory_budget = None
    np.testing.assert_allclose(model.predict(torch.tensor(images)), expected)
    assert peak_memory(lambda: model.predict(images)) > 2 * budget
    with pytest.raises(ValueError, match=r"expected points of shape \('n', 2, 12, 12\)"):
        model.predict(images[..., :11])


@pytest.mark.parametrize("n_outputs", [None, 2])
def test_covariance_is_that_of_the_members(n_outputs: int | None) -> None:
    y = Y if n_outputs is None else 1e4 + np.stack([Y, 3 * Y], axis=1)
    model = fitted(n_outputs or 1, y=y, standardize=True)
    post = model.posterior(X_NEW, keep_members=True, covariance=True)
    assert post.covariance is not None
    assert post.members is not None
    members = post.members.reshape(4, 40, -1).double().numpy()
    found = post.covariance.reshape(-1, 40, 40)
    for j in range(members.shape[2]):
        expected = np.cov(members[..., j].T)
        np.testing.assert_allclose(found[j], expected, atol=1e-9 * np.abs(expected).max())
    assert post.covariance.shape == ((40, 40) if n_outputs is None else (2, 40, 40))
    diagonal = post.covariance.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(diagonal if n_outputs is None else diagonal.T,
                               post.epistemic_variance)  # fmt: skip
    alone = model.posterior(X_NEW, covariance=True)
    assert alone.members is None
    assert alone.covariance is not None
    torch.testing.assert_close(alone.covariance, post.covariance)
    assert model.posterior(X_NEW).covariance is None


def test_a_covariance_stays_right_where_the_mean_is_large() -> None:
    """In float32, with a mean a million times the spread."""
    x, y = X.astype(np.float32), Y.astype(np.float32)
    plain = fitted(x=x, y=y, standardize=True).posterior(X_NEW, covariance=True)
    moved = fitted(x=x, y=y + np.float32(2**20), standardize=True)
    found = moved.posterior(X_NEW.astype(np.float32), covariance=True)
    assert plain.covariance is not None
    assert found.covariance is not None
    error = (found.covariance - plain.covariance).abs().max()
    assert float(error) < 0.1 * float(plain.covariance.abs().max())


def test_impossible_covariances_are_refused() -> None:
    with pytest.raises(ValueError, match="one member has no spread"):
        fitted(n_members=1).posterior(X_NEW, covariance=True)
    model = fitted(memory_budget=20_000)
    with pytest.raises(
        ValueError, match=r"covariance: \d+ points or more .* fewer points, or raise"
    ):
        model.posterior(X_NEW, covariance=True)
    assert model.posterior(X_NEW[:5], covariance=True).covariance is not None
    read = []

    def endless() -> Any:
        while True:
            read.append(1)
            yield X_NEW[:10]

    with pytest.raises(ValueError, match="covariance"):
        model.posterior(endless(), covariance=True)
    assert len(read) < 5  # no more of a loader is read than the budget holds
