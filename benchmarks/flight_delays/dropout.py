"""MC dropout on minibatches: the same network, whose hidden units are lost at random, always."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bayesnn.networks import Erf
from benchmarks.flight_delays.method import NETWORK, Predict, Problem, Settings
from benchmarks.flight_delays.minibatches import minibatches
from benchmarks.flight_delays.mixture import Mixture
from benchmarks.flight_delays.noise import HELD, STEP, as_mixture, noise_loss
from ensembles.trainers.schedules import cosine

RATE = 0.1  # between those that benchmarks of MC dropout choose from, 0.05 to 0.2
CHUNK = 2**14  # flights predicted at a time


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Gal and Ghahramani, ICML 2016, with noise that depends on x."""

    name: ClassVar[str] = "MC dropout"

    @property
    def spends(self) -> Sequence[str]:
        """Return the parts of the budget on which its numbers depend."""
        return ("draws", *NETWORK)

    @property
    def candidates(self) -> Sequence[Settings]:
        """Return priors and their weights."""
        return HELD

    def fit(self, problem: Problem, settings: Settings) -> Predict:
        """Minimise the mean loss plus weight·‖θ‖²/2N (Λ = 1 in NTK parametrisation)."""
        budget, prior = problem.budget, problem.priors[settings["prior"]]
        module = prior.network(
            outputs=2, width=budget.width, depth=budget.depth, seed=problem.seed
        ).to(budget.device)
        x, y = (
            prior.inputs(problem.x).float().to(budget.device),
            problem.y.float().to(budget.device),
        )
        loss, steps = noise_loss(prior), budget.steps
        params = list(module.parameters())
        largest = STEP / math.sqrt(sum(p.numel() for p in params))
        optimiser, schedule = torch.optim.Adam(params), cosine()
        batches = minibatches(len(x), problem.batch_size, seed=problem.seed)
        masks = torch.Generator(budget.device).manual_seed(problem.seed)
        for step, rows in zip(range(steps), batches, strict=False):
            taken = rows.to(budget.device)
            for group in optimiser.param_groups:
                group["lr"] = largest * schedule(step / steps)
            optimiser.zero_grad()
            data = loss(dropped(module, x[taken], RATE, masks), y[taken].unsqueeze(1)).mean()
            pull = torch.stack([p.square().sum() for p in params]).sum() / (2 * len(x))
            pull = settings["weight"] * pull
            (data + pull).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

        def predict(points: Float[Tensor, "n 8"]) -> Mixture:
            drawn = torch.Generator(budget.device).manual_seed(problem.seed + 1)
            with torch.no_grad():
                parts = [
                    torch.stack([dropped(module, part, RATE, drawn) for _ in range(budget.draws)])
                    for part in prior.inputs(points).float().to(budget.device).split(CHUNK)
                ]
            return as_mixture(torch.cat(parts, dim=1), loss)

        return predict


def dropped(
    module: nn.Module, x: Float[Tensor, "n 8"], rate: float, generator: torch.Generator
) -> Float[Tensor, "n 2"]:
    """Return outputs with each hidden unit of each row lost at a rate, others 1/(1 − rate)."""
    for layer in module.children():
        x = layer(x)
        if isinstance(layer, Erf):
            kept = torch.rand(x.shape, generator=generator, device=x.device) >= rate
            x = x * kept / (1 - rate)
    return x
