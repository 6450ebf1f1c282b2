"""Laplace: the posterior of a perceptron that is linear around its best fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn import Predictive
from bayesnn.inference.laplace import (
    LaplacePosterior,
    curvature_diagonal,
    laplace_posterior,
    likeliest_prior_precision,
)
from bayesnn.inference.linearised import Linearised
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import TRAINING, evaluate, train

N_SAMPLES = 50
SAMPLES, DIAGONAL, PRECISION = 3, 4, 5  # added to the seed of the fit, times ten


@dataclass(frozen=True, kw_only=True)
class GaussianRows:
    """P = I/σ², the curvature of the likelihood of rows with Gaussian noise."""

    n_rows: int
    noise_std: float

    def __call__(self, outputs: Tensor, /) -> Tensor:
        """Return P f of each f."""
        return outputs / self.noise_std**2

    def draw(self, generator: torch.Generator, /) -> Tensor:
        """Return one draw of N(0, P)."""
        noise = torch.randn(self.n_rows, generator=generator, dtype=torch.float64)
        return noise / self.noise_std


@dataclass(frozen=True, kw_only=True)
class OwnLaplace:
    """This package's: samples by solves; the prior's precision by the marginal likelihood."""

    name: ClassVar[str] = "Laplace"
    candidates: Sequence[Settings] = TRAINING[1::2]  # solves take long

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Train, then linearise."""
        trained = train(X, y, settings=settings, seed=seed)
        model = Linearised(lambda params: evaluate(params, X), trained.params)
        rows = GaussianRows(n_rows=len(X), noise_std=trained.noise_std)
        diagonal = curvature_diagonal(model, [rows], seed=10 * seed + DIAGONAL)
        ones = torch.ones_like(model.at)

        def posterior(precision: float, curvatures: Sequence[GaussianRows]) -> LaplacePosterior:
            return laplace_posterior(
                model,
                curvatures,
                precision * ones,
                data_diagonal=diagonal if curvatures else torch.zeros_like(diagonal),
                seed=seed,
                tolerance=3e-2,
                max_iterations=100,
            )

        precision = likeliest_prior_precision(
            lambda tau: (posterior(tau, []), posterior(tau, [rows])),
            (model.output - y) / trained.noise_std**2,
            start=1.0,
            at_once=4,
            seed=10 * seed + PRECISION,
        )
        found = posterior(precision, [rows]).sample(range(N_SAMPLES), seed=10 * seed + SAMPLES)

        def predict(points: Float[Tensor, "m d"], /) -> Predictive:
            moved = Linearised(lambda params: evaluate(params, points), trained.params)
            deviations = moved(found.values)
            return Predictive(
                mean=moved.output,
                epistemic_variance=deviations.square().mean(0),
                noise_variance=trained.noise_std**2,
            )

        return Fitted(predict=predict, facts={"prior precision": precision})
