"""Hamiltonian Monte Carlo over a small network with the prior that our ensembles have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from bayesnn import Predictive
from bayesnn.inference.chain_diagnostics import split_r_hat
from bayesnn.inference.hmc import Chain
from bayesnn.inference.parameter_vector import ParameterVector
from bayesnn.networks import draw_initial_params, prior_precision
from bayesnn.seeds import seeded_generator
from benchmarks.regression.method import Fitted, Settings
from benchmarks.regression.ntkgp import PRIORS, prior_of

START = 3  # place of the first parameters' random stream
LOG_NOISE = "log_noise"


@dataclass(frozen=True, kw_only=True)
class HMC:
    """The no-U-turn sampler, one chain; log σ ~ N(log σ₀, 1), σ₀ by marginal likelihood.

    Attributes:
        width: units of the hidden layer.
        warm_up: transitions that adapt the chain.
        draws: transitions that are kept.
        candidates: settings, as of the exact process.
    """

    name: ClassVar[str] = "HMC"
    width: int = 25
    warm_up: int = 150
    draws: int = 100
    candidates: Sequence[Settings] = PRIORS

    def with_prior(self, settings: Settings) -> HMC:
        """Return the method with its prior chosen."""
        return replace(self, candidates=(settings,))

    def smaller(self) -> HMC:
        """Return the method as small as a smoke run needs."""
        return replace(self, width=5, warm_up=10, draws=10)

    def fit(
        self, X: Float[Tensor, "n d"], y: Float[Tensor, " n"], *, settings: Settings, seed: int
    ) -> Fitted:
        """Run the chain."""
        prior = prior_of(settings, X, y, seed=seed)
        noise = prior.noise_std
        network = prior.network(width=self.width, seed=seed).double()
        first = draw_initial_params(network, generator=seeded_generator(seed, START))
        first[LOG_NOISE] = torch.full((1,), math.log(noise), dtype=torch.float64)
        layout = ParameterVector.of(first)
        precision = prior_precision(network)
        inputs = prior.inputs(X)

        def function(vector: Tensor, points: Tensor) -> Tensor:
            params = layout.split(vector)
            del params[LOG_NOISE]
            value: Tensor = functional_call(network, params, (points,))
            return value.squeeze(-1)

        def potential(vector: Tensor) -> Tensor:
            params = layout.split(vector)
            log_noise = params.pop(LOG_NOISE).squeeze()
            penalty = (log_noise - math.log(noise)).square()
            for name, value in params.items():
                penalty = penalty + (precision[name] * value.square()).sum()
            errors = (y - function(vector, inputs)) / log_noise.exp()
            return errors.square().sum() / 2 + len(y) * log_noise + penalty / 2

        chain = Chain(
            potential, layout.join(first), warm_up=self.warm_up, seed=seed, max_leapfrogs=31
        )
        for _ in range(self.warm_up):
            chain.move()
        kept = [chain.move() for _ in range(self.draws)]
        variance = float(
            torch.stack([(2 * layout.split(vector)[LOG_NOISE]).exp() for vector in kept]).mean()
        )
        with torch.no_grad():
            trace = torch.stack([function(vector, inputs[:20]) for vector in kept])

        def predict(rows: Float[Tensor, "m d"], /) -> Predictive:
            points = prior.inputs(rows)
            with torch.no_grad():
                members = torch.stack([function(vector, points) for vector in kept])
            return Predictive.from_members(members, variance, keep_members=True)

        return Fitted(
            predict=predict,
            facts={
                "acceptance": chain.acceptance,
                "divergent": float(chain.n_divergent),
                "split R-hat": float(split_r_hat(trace[None]).max()),
            },
        )
