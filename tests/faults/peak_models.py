"""Ensembles large enough that a memory budget binds, in few steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesnn.networks import Erf, mlp
from ensembles import (
    EnsembleClassifier,
    EnsembleRegressor,
    adam,
    deep_ensemble,
    early_stopping,
    gauss_newton,
    heteroscedastic,
    ntkgp_fn,
    ntkgp_lin,
    ntkgp_param,
)
from ensembles.methods.protocol import Method
from ensembles.trainers.problem import Trainer

FEATURES = 8


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of ensemble.

    Attributes:
        method: of the ensemble.
        trainer: a few steps of it.
        width: of its networks.
        n_members: of the ensemble.
        n_points: of the data.
        settings: of the estimator, beside these.
        classes: whether it classifies.
    """

    method: Method
    trainer: Trainer
    width: int
    n_members: int
    n_points: int
    settings: dict[str, Any] | None = None
    classes: bool = False


KINDS = {
    "NTKGP-param, Adam": Kind(
        method=ntkgp_param(), trainer=adam(steps=4), width=128, n_members=40, n_points=10_000
    ),
    "NTKGP-fn, Adam, rows held out": Kind(
        method=ntkgp_fn(), trainer=adam(steps=4, early_stopping=early_stopping(every=2)),
        width=128, n_members=40, n_points=10_000,
    ),
    "NTKGP-lin, Adam": Kind(
        method=ntkgp_lin(), trainer=adam(steps=3), width=64, n_members=40, n_points=10_000
    ),
    "deep ensemble, all rows in a step": Kind(
        method=deep_ensemble(), trainer=adam(steps=3, batch_size=10**6), width=64, n_members=40,
        n_points=10_000,
    ),
    "deep ensemble, wide networks": Kind(
        method=deep_ensemble(), trainer=adam(steps=3), width=512, n_members=40, n_points=5_000
    ),
    "NTKGP-param, Gauss–Newton": Kind(
        method=ntkgp_param(), trainer=gauss_newton(max_steps=3), width=128, n_members=40,
        n_points=400,
    ),
    "deep ensemble, noise by input": Kind(
        method=deep_ensemble(), trainer=adam(steps=4), width=128, n_members=40, n_points=10_000,
        settings={"likelihood": heteroscedastic()},
    ),
    "NTKGP-param, ten classes": Kind(
        method=ntkgp_param(), trainer=adam(steps=4), width=128, n_members=40, n_points=10_000,
        classes=True,
    ),
}  # fmt: skip


def table(kind: str, n_points: int | None) -> tuple[Any, Any]:
    """Return as many rows as the kind has, or so many, in float32."""
    chosen = KINDS[kind]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_points or chosen.n_points, FEATURES)).astype(np.float32)
    if chosen.classes:
        return x, np.arange(len(x)) % 10
    return x, x[:, 0] ** 2


def model(kind: str, *, width: int | None, n_members: int | None, budget: int | None) -> Any:
    """Return an ensemble of a kind, as large as it is or as is said."""
    chosen = KINDS[kind]
    heteroscedastic_noise = bool(chosen.settings)
    network = mlp(
        in_features=FEATURES,
        out_features=10 if chosen.classes else 1 + heteroscedastic_noise,
        width=width or chosen.width,
        depth=2,
        activation=Erf(),
    )
    shared: dict[str, Any] = {
        "method": chosen.method, "trainer": chosen.trainer, "random_state": 0,
        "n_members": n_members or chosen.n_members, "memory_budget": budget,
        **(chosen.settings or {}),
    }  # fmt: skip
    if chosen.classes:
        return EnsembleClassifier(network, **shared)
    return EnsembleRegressor(network, noise_std=None if heteroscedastic_noise else 0.1, **shared)
