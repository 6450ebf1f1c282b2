"""Mean-field variational inference on minibatches, for the same network and prior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from bayesnn.inference.mc_dropout import Params
from bayesnn.inference.mean_field import MeanFieldFit
from benchmarks.flight_delays.method import NETWORK, Predict, Problem, Settings
from benchmarks.flight_delays.minibatches import minibatches
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import HELD, STEP, as_mixture, noise_loss
from ensembles.trainers.schedules import cosine

CHUNK = 2**15  # flights predicted at a time


@dataclass(frozen=True, kw_only=True)
class MeanFieldNetwork:
    """Bayes by backprop, with noise that depends on x."""

    name: ClassVar[str] = "mean field"

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return ("draws", *NETWORK)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return priors and their weights."""
        return HELD

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Maximise the evidence lower bound; in NTK parametrisation the prior is N(0, 1)."""
        budget, prior = problem.budget, problem.priors[settings["prior"]]
        module = prior.network(
            outputs=2, width=budget.width, depth=budget.depth, seed=problem.seed
        ).to(budget.device)
        x, y = (
            prior.inputs(problem.x).float().to(budget.device),
            problem.y.float().to(budget.device),
        )
        loss = noise_loss(prior)
        size = len(x) / settings["weight"]  # of the data beside the divergence from the prior
        start = {name: value.detach() for name, value in module.named_parameters()}
        fit = MeanFieldFit(start, prior_std=dict.fromkeys(start, 1.0), seed=problem.seed)
        largest = STEP / math.sqrt(sum(p.numel() for p in start.values()))
        schedule, batches = cosine(), minibatches(len(x), problem.batch_size, seed=problem.seed)
        steps = budget.steps
        for step, rows in zip(range(steps), batches, strict=False):
            taken = rows.to(budget.device)
            inputs, targets = x[taken], y[taken].unsqueeze(1)

            def energy(
                params: Params, inputs: Tensor = inputs, targets: Tensor = targets
            ) -> Float[Tensor, ""]:
                values = functional_call(module, params, (inputs,))
                return size * loss(values, targets).mean()

            fit.step(energy, largest * schedule(step / steps))
        posterior = fit.posterior()

        def predict(points: Float[Tensor, "n 8"]) -> Mixture:
            parts = []
            for part in prior.inputs(points).float().to(budget.device).split(CHUNK):
                functions = posterior.draw_functions(
                    lambda params, part=part: functional_call(module, params, (part,)),
                    seed=problem.seed + 1,
                )
                parts.append(torch.stack([next(functions) for _ in range(budget.draws)]))
            return as_mixture(torch.cat(parts, dim=1), loss)

        return predict
