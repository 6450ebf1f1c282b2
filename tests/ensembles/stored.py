"""Small fitted ensembles to be saved, and where they are saved to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bayesnn.networks import Erf, mlp
from ensembles import EnsembleRegressor, adam

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, size=(30, 2))
Y = np.sin(X[:, 0]) + X[:, 1] ** 2
X_NEW = RNG.uniform(-4, 4, size=(50, 2))


def small_net(out_features: int = 1, **settings: Any) -> nn.Module:
    return mlp(
        in_features=2, out_features=out_features, width=8, depth=2, activation=Erf(), **settings
    )


def fitted(network: nn.Module | None, **settings: Any) -> EnsembleRegressor:
    chosen = {"n_members": 3, "noise_std": 0.1, "random_state": 0, "trainer": adam(steps=5)}
    table, y = settings.pop("X", X), settings.pop("y", Y)
    return EnsembleRegressor(network, **(chosen | settings)).fit(table, y)


def saved(model: EnsembleRegressor, folder: Path) -> Path:
    path = folder / "model.ens"
    model.save(path)
    return path
