"""Gauss–Newton on networks of several kinds: where it ends, and what memory it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from bayesnn.networks import Erf, mlp, prior_precision, with_prior
from bayesnn.seeds import seeded_generator
from ensembles import gauss_newton, ntkgp_param
from ensembles.memory import peak_memory
from ensembles.methods.protocol import Method, Params
from ensembles.trainers.member_size import member_size
from tests.contracts.ensemble_cases import REGULARISED, params_norm
from tests.ensembles.trainers.gauss_newton_cases import (
    F64,
    N,
    member_of,
    small_network,
    small_problem,
    wave_data,
)


class ConvNet(nn.Module):
    """Two convolutions and a read-out, on [n, 2, 4, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 2, stride=2)
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.out(h.mean((2, 3)))


class Tokens(nn.Module):
    """Layers on [n, tokens, features], and a raw parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Linear(3, 4), nn.Linear(4, 1)
        self.shift = nn.Parameter(torch.zeros(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.mix(x) + self.shift).mean(1))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: small_network("cpu"), (2,)),
    "convolutions": (ConvNet, (2, 4, 3)),
    "tokens": (
        lambda: with_prior(Tokens(), precision={"shift": 4.0}),
        (5, 3),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", REGULARISED[:-1], ids=lambda m: m.name)
def test_members_are_stationary_points(name: str, method: Method, device: str) -> None:
    """Of the loss as the method defines it, written out here."""
    build, shape = NETWORKS[name]
    network = build().to(device, F64)
    x, y = wave_data(*shape, device=device)
    weight = torch.rand(N, dtype=F64, generator=seeded_generator(5)).add(0.5).to(device)
    problem = small_problem(network, x, y, method, std=(1.0,), row_weight=weight)
    trained = gauss_newton(tolerance=1e-8, max_steps=500).train(problem, seed=0)
    assert bool(trained.converged.all())
    precision = prior_precision(network)
    for i in range(3):
        assert problem.center is not None
        center, targets = member_of(problem.center, i), problem.targets[i]

        def loss(theta: Params, center: Params = center, targets: Tensor = targets) -> Tensor:
            residual = targets - functional_call(network, theta, (x,))
            pull = sum((precision[k] * (v - center[k]) ** 2).sum() for k, v in theta.items())
            return 0.5 * (weight @ residual[:, 0] ** 2) + 0.5 * pull

        start, end = (
            params_norm({k: v / precision[k].sqrt() for k, v in grad(loss)(params).items()})
            for params in (member_of(problem.start, i), member_of(trained.params, i))
        )
        assert end < 1e-3 * start


@pytest.mark.parametrize(
    ("build", "shape", "n"),
    [
        (lambda: small_network("cpu", width=256), (2,), 20),
        (lambda: small_network("cpu", width=32), (2,), 400),
        (
            lambda: mlp(in_features=144, out_features=1, width=64, depth=1, activation=Erf()),
            (144,),
            300,
        ),
        (ConvNet, (2, 8, 8), 100),
    ],
    ids=["wide", "many rows", "many inputs", "convolutions"],
)
def test_it_says_what_memory_a_member_takes(
    build: Callable[[], nn.Module], shape: tuple[int, ...], n: int
) -> None:
    """What is allocated stays below the members' share and one block of activations."""
    network = build().double()
    x = torch.randn(n, *shape, dtype=F64, generator=seeded_generator(1))
    y = x.flatten(1).sum(1, keepdim=True).sin()
    members, block = 3, 2**24
    problem = small_problem(network, x, y, ntkgp_param(), numbers=range(members))
    trainer = gauss_newton(max_steps=3, memory_budget=block)
    each = trainer.bytes_per_member(member_size(problem.network, ntkgp_param(), x, 1))
    used = peak_memory(lambda: trainer.train(problem, seed=0))
    assert used < members * each + 2 * block
    assert each < 5 * (used / members + 2**20)
