"""The plain network of the peers: one hidden layer of 50 ReLU units, trained by Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from benchmarks.regression.method import Settings

Params: TypeAlias = dict[str, Tensor]
Evaluate: TypeAlias = Callable[[Params, Tensor, torch.Generator], Tensor]

WIDTH = 50
BATCH = 128
LEARNING_RATE = 0.01
NOISE_RATE = 0.05  # of log σ, which has far to go where noise is small
FIRST_LOG_NOISE = -1.0
INITIAL, BATCHES, NOISE = 0, 1, 2  # places of the random streams

TRAINING: Sequence[Settings] = tuple(
    {"steps": steps, "weight_decay": decay} for steps in (300, 1000) for decay in (1e-5, 1e-3)
)
"""Steps of Adam, and the square of the weights' penalty in the mean loss of a row."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network and the noise that it was trained with.

    Attributes:
        params: θ.
        noise_std: σ, learned with θ.
    """

    params: Params
    noise_std: float


def first_params(in_features: int, *, seed: int) -> Params:
    """Return θ as torch's own layers begin: uniform within 1/√fan_in."""
    generator = seeded_generator(seed, INITIAL)

    def uniform(*shape: int, fan_in: int) -> Tensor:
        drawn = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return (2 * drawn - 1) / math.sqrt(fan_in)

    return {
        "0.weight": uniform(WIDTH, in_features, fan_in=in_features),
        "0.bias": uniform(WIDTH, fan_in=in_features),
        "2.weight": uniform(1, WIDTH, fan_in=WIDTH),
        "2.bias": uniform(1, fan_in=WIDTH),
    }


def evaluate(params: Params, X: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return f(x, θ)."""
    hidden = torch.relu(X @ params["0.weight"].mT + params["0.bias"])
    return (hidden @ params["2.weight"].mT + params["2.bias"]).squeeze(-1)


def train(
    X: Float[Tensor, "n d"],
    y: Float[Tensor, " n"],
    *,
    settings: Settings,
    seed: int,
    through: Evaluate = lambda params, X, _: evaluate(params, X),
) -> Trained:
    """Minimise the mean over rows of ½(e/σ)² + log σ, plus a penalty, in θ and σ.

    Args:
        X: standardised rows.
        y: standardised targets.
        settings: "steps" and "weight_decay".
        seed: of the start, the batches and what `through` draws.
        through: f(x, θ) as it is in training, with a generator.

    Returns:
        What Adam came to, its step going to 0 along a cosine.
    """
    params = first_params(X.shape[1], seed=seed)
    log_noise = torch.tensor(FIRST_LOG_NOISE, dtype=torch.float64)
    for leaf in (*params.values(), log_noise):
        leaf.requires_grad_()
    optimiser = torch.optim.Adam([
        {"params": list(params.values()), "rate": LEARNING_RATE},
        {"params": [log_noise], "rate": NOISE_RATE},
    ])
    steps, decay = settings["steps"], settings["weight_decay"]
    batches, noise = seeded_generator(seed, BATCHES), seeded_generator(seed, NOISE)
    order = torch.randperm(len(X), generator=batches)
    at = 0
    for step in range(steps):
        if at >= len(X):
            order, at = torch.randperm(len(X), generator=batches), 0
        rows = order[at : at + BATCH]
        at += BATCH
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * (1 + math.cos(math.pi * step / steps)) / 2
        errors = (y[rows] - through(params, X[rows], noise)) / log_noise.exp()
        penalty = params["0.weight"].square().sum() + params["2.weight"].square().sum()
        loss = errors.square().mean() / 2 + log_noise + decay * penalty
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Trained(
        params={name: value.detach() for name, value in params.items()},
        noise_std=float(log_noise.detach().exp()),
    )
