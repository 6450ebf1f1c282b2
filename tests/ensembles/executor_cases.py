"""Fits that executors are tested with, and what must be the same of two of them."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bayesnn.executors.in_process import SerialExecutor
from bayesnn.executors.protocol import Needs
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import EnsembleClassifier, EnsembleRegressor, adam
from ensembles.estimators.base import EnsembleBase

N_MEMBERS = 5


def data(n: int = 60) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return X [n, 2] and y [n]."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    return X, np.sin(X).sum(1) + 0.1 * rng.normal(size=n)


def regressor(**settings: object) -> EnsembleRegressor:
    """Return a small ensemble for `data`."""
    return EnsembleRegressor(
        **{
            "network": network(1),
            "n_members": N_MEMBERS,
            "noise_std": 0.1,
            "trainer": adam(steps=40, batch_size=20),
            "random_state": 3,
            **settings,
        }  # type: ignore[arg-type]
    )


def classifier(**settings: object) -> EnsembleClassifier:
    """Return a small ensemble for the sign of `data`'s y."""
    return EnsembleClassifier(
        **{
            "network": network(2),
            "n_members": N_MEMBERS,
            "trainer": adam(steps=20, batch_size=20),
            "random_state": 3,
            **settings,
        }  # type: ignore[arg-type]
    )


def network(n_outputs: int) -> nn.Module:
    """Return an MLP of two inputs."""
    return mlp(
        in_features=2, out_features=n_outputs, width=16, depth=1, activation=Erf(),
        weight_std=1.5, bias_std=0.1, generator=seeded_generator(0),
    )  # fmt: skip


def assert_same(found: EnsembleBase, wanted: EnsembleBase, *, relative: float = 1e-10) -> None:
    """Check that two fits have the same draws, bit for bit, and the same members."""
    assert found.members_ == wanted.members_
    assert found.converged_ == wanted.converged_
    assert found.n_iter_ == wanted.n_iter_
    assert found.shift_params_.keys() == wanted.shift_params_.keys()
    for kind, params in wanted.shift_params_.items():
        for name, value in params.items():
            assert torch.equal(found.shift_params_[kind][name], value), (kind, name)
    for name, value in wanted.params_.items():
        assert _difference(found.params_[name], value) <= relative, name


def _difference(found: Tensor, wanted: Tensor) -> float:
    assert found.dtype == wanted.dtype
    assert found.device == wanted.device
    return float((found - wanted).abs().max() / wanted.abs().max())


class ManyHands(SerialExecutor):
    """Works in this process, in pieces as if there were many workers."""

    def __init__(self, n: int, *, backwards: bool = False) -> None:
        object.__setattr__(self, "device", None)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "backwards", backwards)

    def n_workers(self, needs: Needs = Needs()) -> int:  # noqa: B008
        return int(self.n)  # type: ignore[attr-defined]

    def run(self, *arguments: object, **named: object) -> Generator[tuple[int, object], None, None]:
        results = super().run(*arguments, **named)  # type: ignore[arg-type]
        yield from list(results)[::-1] if self.backwards else results  # type: ignore[attr-defined]
