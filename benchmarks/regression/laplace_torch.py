"""The peer laplace-torch around the same perceptron: full Gauss–Newton matrix, all weights."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bayesnn import Predictive
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.perceptron import TRAINING, WIDTH, train

STEPS = 40  # of Adam in log prior precision and log σ, as its own regression example


@dataclass(frozen=True, kw_only=True)
class LaplaceTorch:
    """Prior precision and noise by its marginal likelihood (Daxberger et al., NeurIPS 2021)."""

    name: ClassVar[str] = "laplace-torch"
    candidates: Sequence[Settings] = TRAINING

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Train, then fit the curvature."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from laplace import Laplace  # an optional peer

            trained = train(X, y, settings=settings, seed=seed)
            with torch.random.fork_rng(devices=[]):
                network = nn.Sequential(
                    nn.Linear(X.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)
                ).double()
            network.load_state_dict(trained.params)
            found = Laplace(
                network, "regression", subset_of_weights="all", hessian_structure="full"
            )
            found.fit(DataLoader(TensorDataset(X, y.unsqueeze(1)), batch_size=len(X)))
            log_prior = torch.zeros(1, dtype=torch.float64, requires_grad=True)
            log_noise = (
                torch.full((1,), trained.noise_std, dtype=torch.float64).log().requires_grad_()
            )
            optimiser = torch.optim.Adam([log_prior, log_noise], lr=0.2)
            reached, taken = (1.0, trained.noise_std), 0.0
            for _ in range(STEPS):
                optimiser.zero_grad()
                try:
                    loss = -found.log_marginal_likelihood(log_prior.exp(), log_noise.exp())
                except torch.linalg.LinAlgError:  # its matrix is not positive definite any more
                    break
                reached = float(log_prior.detach().exp()), float(log_noise.detach().exp())
                loss.backward()
                optimiser.step()
                taken += 1
            found.prior_precision, found.sigma_noise = (
                torch.tensor([value], dtype=torch.float64) for value in reached
            )

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                mean, variance = found(rows)
            return Predictive(
                mean=mean.detach().reshape(-1),
                epistemic_variance=variance.detach().reshape(-1).clamp(min=0.0),
                noise_variance=reached[1] ** 2,
            )

        return Fitted(
            predict=predict,
            facts={"steps": taken, "prior precision": reached[0], "noise": reached[1]},
        )
