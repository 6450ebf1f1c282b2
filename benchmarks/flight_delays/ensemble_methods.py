"""The NTKGP family, and deep ensembles with its prior: members by Adam on minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.flight_delays.method import NETWORK, Predict, Problem, Settings
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import FREE, HELD, STEP, as_mixture, likelihood
from ensembles import EnsembleRegressor, adam
from ensembles.likelihoods.student_t import StudentT
from ensembles.methods.protocol import Method as EnsembleMethod
from ensembles.prediction import EnsembleFunction


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Members trained side by side, with the prior that the marginal likelihood chose.

    Attributes:
        name: in tables.
        method: what is fixed, regularised and perturbed.
        held: whether a regulariser holds members near their prior.
    """

    name: str
    method: EnsembleMethod
    held: bool = True

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return ("members", *NETWORK)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return priors, with shares of the steps or with weights where members are held."""
        return HELD if self.held else FREE

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Fit the members."""
        budget, prior = problem.budget, problem.priors[settings["prior"]]
        return fit_mixture(
            prior.network(outputs=2, width=budget.width, depth=budget.depth, seed=problem.seed),
            problem,
            method=self.method,
            members=budget.members,
            likelihood=likelihood(prior),
            noise_std=prior.noise_std,
            inputs=prior.inputs,
            steps=problem.steps(settings.get("steps", 1.0)),
            weight=settings.get("weight", 1.0),
        )


def fit_mixture(
    network: nn.Module,
    problem: Problem,
    *,
    method: EnsembleMethod,
    members: int,
    likelihood: StudentT,
    noise_std: float,
    inputs: Callable[[Tensor], Tensor],
    steps: int,
    rate: float = 1.0,
    weight: float = 1.0,
) -> Predict:
    """Fit members by Adam, and return what predicts the mixture of their laws.

    Args:
        network: of two outputs, the mean and the log variance.
        problem: training rows.
        method: what is fixed, regularised and perturbed.
        members: how many.
        likelihood: of one flight.
        noise_std: about which the noise varies.
        inputs: features as the network sees them.
        steps: of Adam.
        rate: largest learning rate, in units of the package's default.
        weight: of the regulariser.

    Returns:
        The mixture's law at standardised features.
    """
    n_params = sum(p.numel() for p in network.parameters())
    model = EnsembleRegressor(
        network,
        method=method,
        n_members=members,
        noise_std=noise_std,
        likelihood=likelihood,
        standardize=False,
        trainer=adam(
            steps=steps,
            batch_size=problem.batch_size,
            learning_rate=rate * STEP / math.sqrt(n_params),
        ),
        random_state=problem.seed,
        device=problem.budget.device,
    )
    # the likelihood to the power 1/weight: beside it the regulariser has that weight
    power = np.full(len(problem.x), 1 / weight, dtype=np.float32)
    model.fit(inputs(problem.x).float(), problem.y.float(), sample_weight=power)
    # of the members' values: `posterior` has the noise averaged over them
    function = EnsembleFunction(
        network=model.network_,
        method=model.method_,
        params=model.params_,
        shift=model.shift_params_,
        in_units=_as_they_are,
    )
    loss = likelihood.loss(torch.tensor([noise_std]))

    def predict(x: Float[Tensor, "n 8"]) -> Mixture:
        values = [part.cpu() for part in function.chunks([inputs(x)])]
        return as_mixture(torch.cat(values, dim=1), loss)

    return predict


def _as_they_are(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)
