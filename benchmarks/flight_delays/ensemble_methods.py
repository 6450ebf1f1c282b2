"""Deep ensembles and the NTKGP family at many rows: members by Adam on minibatches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.method import NETWORK, Predict, Problem, Settings
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import FREE, HELD, STEP, as_mixture, likelihood, noise_loss
from ensembles import EnsembleRegressor, adam
from ensembles.methods.protocol import Method as EnsembleMethod
from ensembles.prediction import EnsembleFunction


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Members trained side by side; one where `single`.

    Attributes:
        name: in tables.
        method: what is fixed, regularised and perturbed.
        single: whether to train one network alone.
        held: whether a regulariser holds members near their prior.
    """

    name: str
    method: EnsembleMethod
    single: bool = False
    held: bool = True

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return NETWORK if self.single else ("members", *NETWORK)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return priors, with shares of the steps or with weights where members are held."""
        return HELD if self.held else FREE

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Fit the members."""
        budget, prior = problem.budget, problem.priors[settings["prior"]]
        module = prior.network(outputs=2, width=budget.width, depth=budget.depth, seed=problem.seed)
        n_params = sum(p.numel() for p in module.parameters())
        model = EnsembleRegressor(
            module,
            method=self.method,
            n_members=1 if self.single else budget.members,
            noise_std=prior.noise_std,
            likelihood=likelihood(prior),
            standardize=False,
            trainer=adam(
                steps=problem.steps(settings.get("steps", 1.0)),
                batch_size=problem.batch_size,
                learning_rate=STEP / math.sqrt(n_params),
            ),
            random_state=problem.seed,
            device=budget.device,
        )
        # the likelihood to the power 1/weight: beside it the regulariser has that weight
        power = np.full(len(problem.x), 1 / settings.get("weight", 1.0), dtype=np.float32)
        model.fit(prior.inputs(problem.x).float(), problem.y.float(), sample_weight=power)
        # of the members' values: `posterior` has the noise averaged over them
        function = EnsembleFunction(
            network=model.network_,
            method=model.method_,
            params=model.params_,
            shift=model.shift_params_,
            in_units=_as_they_are,
        )
        loss = noise_loss(prior)

        def predict(x: Float[Tensor, "n 8"]) -> Mixture:
            values = [part.cpu() for part in function.chunks([prior.inputs(x)])]
            return as_mixture(torch.cat(values, dim=1), loss)

        return predict


def _as_they_are(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)
