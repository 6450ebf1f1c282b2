"""Mean field: independent Gaussians for a perceptron's parameters, by Bayes by backprop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from bayesnn.inference.mean_field import MeanFieldFit
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import (
    FIRST_LOG_NOISE,
    Params,
    evaluate,
    first_params,
)

STEPS = 400
LEARNING_RATE = 0.02
N_SAMPLES = 100
LOG_NOISE = "log_noise"


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """Weights N(0, 1/fan_in) times a scale, biases N(0, 1), log σ N(0, 1) a priori.

    Source: Blundell et al., Weight uncertainty in neural networks, ICML 2015.
    """

    name: ClassVar[str] = "mean field"
    candidates: Sequence[Settings] = ({"weight_std": 1.0}, {"weight_std": 3.0})
    steps: int = STEPS

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Climb the evidence lower bound, with all rows in each step."""
        start = first_params(X.shape[1], seed=seed)
        start[LOG_NOISE] = torch.full((1,), FIRST_LOG_NOISE, dtype=torch.float64)
        stds = {
            name: settings["weight_std"] / math.sqrt(value.shape[1]) if value.ndim == 2 else 1.0
            for name, value in start.items()
        }
        fit = MeanFieldFit(start, prior_std=stds, n_draws=2, seed=seed)

        def energy(params: Params) -> Tensor:
            log_noise = params[LOG_NOISE].squeeze()
            errors = (y - evaluate(params, X)) / log_noise.exp()
            return errors.square().sum() / 2 + len(X) * log_noise

        for step in range(self.steps):
            fit.step(energy, LEARNING_RATE * (1 + math.cos(math.pi * step / self.steps)) / 2)
        found = fit.posterior()
        spread = found.std[LOG_NOISE].square()
        noise = float((2 * found.mean[LOG_NOISE] + 2 * spread).exp())  # E[σ²] of a log-normal σ

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            functions = found.draw_functions(lambda params: evaluate(params, rows), seed=seed)
            return Predictive.from_members(
                torch.stack(list(islice(functions, N_SAMPLES))), noise, keep_members=True
            )

        return Fitted(predict=predict, facts={"noise": math.sqrt(noise)})
