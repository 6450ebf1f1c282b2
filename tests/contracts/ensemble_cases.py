"""The ensemble methods under the laws, and the small problem that they are tried on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import anchored, deep_ensemble, ntkgp_fn, ntkgp_lin, ntkgp_param, randomised_prior
from ensembles.losses import SquaredError
from ensembles.member_problem import draw_member
from ensembles.methods.protocol import Method, Params, Shift

# with the multiples of K and Θ that the papers' table gives for the covariance at initialisation
COLUMNS: list[tuple[Method, int, int]] = [
    (deep_ensemble(), 1, 0),
    (anchored(), 1, 0),
    (randomised_prior(), 2, 0),
    (ntkgp_param(), 0, 1),
    (ntkgp_fn(), 0, 2),
    (ntkgp_lin(), 0, 1),
]
METHODS = [method for method, *_ in COLUMNS]
REGULARISED = [method for method in METHODS if method.name != "deep_ensemble"]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
SEED = 3
NOISE = torch.tensor([0.1], dtype=torch.float64)
LOSS = SquaredError(noise_std=NOISE)


def erf_network(device: str, width: int = 16, in_features: int = 2, depth: int = 2) -> nn.Module:
    network = mlp(
        in_features=in_features, out_features=1, width=width, depth=depth, activation=Erf(),
        weight_std=1.5, bias_std=0.05, generator=seeded_generator(9),
    )  # fmt: skip
    return network.to(device, torch.float64)


def sine_data(device: str, n: int = 6) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 2, dtype=torch.float64, generator=seeded_generator(1))
    return x.to(device), (x.sum(1, keepdim=True).sin() + 1.0).to(device)


def member_draws(method: Method, network: nn.Module, numbers: range) -> tuple[Params, Shift]:
    y = next(network.parameters()).new_zeros(1, 1)
    draws = [draw_member(method, network, y, seed=SEED, number=i)[0] for i in numbers]
    shift = {name: _stack([d.shift[name] for d in draws]) for name in draws[0].shift}
    return _stack([d.start for d in draws]), shift


def _stack(parts: list[Params]) -> Params:
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def params_norm(params: Params) -> float:
    return math.sqrt(sum(float((value**2).sum()) for value in params.values()))
