"""One network, whose only uncertainty is its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import TRAINING, evaluate, train


@dataclass(frozen=True, kw_only=True)
class SingleNetwork:
    """A perceptron by maximum likelihood with weight decay."""

    name: ClassVar[str] = "single network"
    candidates: Sequence[Settings] = TRAINING

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Train it."""
        trained = train(X, y, settings=settings, seed=seed)

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            mean = evaluate(trained.params, rows)
            return Predictive(
                mean=mean,
                epistemic_variance=torch.zeros_like(mean),
                noise_variance=trained.noise_std**2,
            )

        return Fitted(predict=predict)
