"""Networks that vmap or forward-mode derivatives cannot take give the numbers of those they can."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev

from bayesnn.networks import draw_initial_params, with_prior
from bayesnn.seeds import seeded_generator
from ensembles import adam, ntkgp_lin, ntkgp_param
from ensembles.evaluation import member_values, shift_values
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.methods.jacobian_product import jacobian_product
from ensembles.methods.protocol import Method
from ensembles.preparation import prepared
from ensembles.side_by_side import over_members, runs_side_by_side

N = 6
LOSS = SquaredError(noise_std=torch.tensor([0.1], dtype=torch.float64))


class Network(nn.Module):
    """x -> linear -> `middle` -> linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        self.head = nn.Linear(8, 1)
        self.register_buffer("scratch", torch.zeros(N, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.first(x)))

    def middle(self, h: Tensor) -> Tensor:
        raise NotImplementedError


class Branches(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.tanh(h) if h.sum() > 0 else torch.sin(h)


class BranchesAtOnce(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.where(h.sum() > 0, torch.tanh(h), torch.sin(h))


class TakesAnItem(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.tanh(h) * self.first.weight.norm().item()


class TakesNoItem(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.tanh(h) * self.first.weight.norm().detach()


class WritesIntoABuffer(Network):
    def middle(self, h: Tensor) -> Tensor:
        self.scratch[: len(h)] = torch.tanh(h).detach()
        return torch.tanh(h) + self.scratch[: len(h)]


class WritesIntoNothing(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.tanh(h) + torch.tanh(h).detach()


class _Tanh(torch.autograd.Function):
    """As users have written it for years: torch.func knows nothing of it."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        y = h.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return gradient * (1 - y**2)


class OwnFunction(Network):
    def middle(self, h: Tensor) -> Tensor:
        return _Tanh.apply(h)


class NoOwnFunction(Network):
    def middle(self, h: Tensor) -> Tensor:
        return h.tanh()


class OneDerivative(Network):
    def middle(self, h: Tensor) -> Tensor:
        return torch.cdist(h, self.first.weight.T).repeat(1, 8)[:, :8]


class ManyDerivatives(Network):
    def middle(self, h: Tensor) -> Tensor:
        differences = h.unsqueeze(1) - self.first.weight.T
        return differences.square().sum(2).sqrt().repeat(1, 8)[:, :8]


class FusedAttention(Network):
    def middle(self, h: Tensor) -> Tensor:
        h = h.view(-1, 1, 2, 4)
        return nn.functional.scaled_dot_product_attention(h, h, h).flatten(1)


class PlainAttention(Network):
    def middle(self, h: Tensor) -> Tensor:
        h = h.view(-1, 2, 4)
        return (torch.softmax(h @ h.mT / 2, dim=-1) @ h).flatten(1)


PAIRS = [
    (Branches, BranchesAtOnce),
    (TakesAnItem, TakesNoItem),
    (WritesIntoABuffer, WritesIntoNothing),
    (OwnFunction, NoOwnFunction),
    (OneDerivative, ManyDerivatives),
    (FusedAttention, PlainAttention),
]
each_pair = pytest.mark.parametrize(("awkward", "easy"), PAIRS, ids=lambda cls: cls.__name__)


def _data() -> tuple[Tensor, Tensor]:
    x = torch.randn(N, 3, dtype=torch.float64, generator=seeded_generator(1))
    return x, x.sum(1, keepdim=True).sin()


@each_pair
@pytest.mark.parametrize("method", [ntkgp_param(), ntkgp_lin()], ids=lambda m: m.name)
def test_awkward_networks_give_the_same_numbers(
    awkward: type[Network], easy: type[Network], method: Method
) -> None:
    """Values, δ and trained parameters, to rounding."""
    x, y = _data()
    results = []
    for kind in (awkward, easy):
        network = prepared(kind().double(), method, x)
        fitted = fit_members(
            network, x, y, method=method, trainer=adam(steps=20, batch_size=N), n_members=3,
            loss=LOSS, seed=0,
        )  # fmt: skip
        with torch.no_grad():
            values = member_values(method, network, fitted.params, fitted.shift, x)
            shift = shift_values(method, network, fitted.shift, x)
        results.append((fitted.params, values, torch.zeros(1) if shift is None else shift))
    for name, value in results[0][0].items():
        torch.testing.assert_close(value, results[1][0][name], rtol=1e-10, atol=1e-12)
    for found, expected in zip(results[0][1:], results[1][1:], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@each_pair
def test_jacobian_products_are_those_of_the_jacobian(
    awkward: type[Network], easy: type[Network]
) -> None:
    x, _ = _data()
    network, equal = with_prior(awkward().double()), with_prior(easy().double())
    at, direction = (draw_initial_params(equal, generator=seeded_generator(i)) for i in range(2))
    rows = jacrev(lambda p: torch.func.functional_call(equal, p, (x,)))(at)
    expected = torch.stack([
        rows[name].flatten(2) @ value.flatten() for name, value in direction.items()
    ]).sum(0)
    for _ in range(2):  # the second time by what the first has found out
        torch.testing.assert_close(jacobian_product(network, at, direction, x), expected)
    tracked = {name: value.clone().requires_grad_() for name, value in direction.items()}
    product = jacobian_product(network, at, tracked, x)
    gradients = torch.autograd.grad(product.sum(), list(tracked.values()))
    for gradient, row in zip(gradients, rows.values(), strict=True):
        torch.testing.assert_close(gradient, row.sum((0, 1)))


def test_what_has_failed_is_not_tried_again_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x, _ = _data()
    network = with_prior(Branches().double())
    draws = [draw_initial_params(network, generator=seeded_generator(i)) for i in range(3)]
    params = {name: torch.stack([d[name] for d in draws]) for name in draws[0]}
    calls = []

    def one(member: dict[str, Tensor], _: object) -> Tensor:
        calls.append(1)
        return torch.func.functional_call(network, member, (x,))

    with caplog.at_level(logging.INFO):
        first = over_members(one, params, {}, network=network)
    n_first = len(calls)
    assert not runs_side_by_side(network)
    assert [record.getMessage() for record in caplog.records] == [
        "torch.func.vmap cannot take Branches: its members run one after another"
    ]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        second = over_members(one, params, {}, network=network)
    assert (n_first, len(calls) - n_first) == (5, 3)
    assert not caplog.records
    assert torch.equal(first, second)


def test_what_runs_for_one_member_may_fail_for_more() -> None:
    network = nn.Linear(1, 1)

    def one(member: dict[str, Tensor], _: object) -> Tensor:
        value = member["a"]
        if torch._C._functorch.is_batchedtensor(value) and len(everyone) > 1:
            raise RuntimeError("not for several")
        return 2 * value

    for everyone in (torch.ones(1, 2), torch.ones(3, 2)):
        found = over_members(one, {"a": everyone}, {}, network=network)
        assert torch.equal(found, 2 * everyone)
    assert not runs_side_by_side(network)


def test_a_network_that_does_not_run_says_why() -> None:
    x, _ = _data()
    network = with_prior(Branches().double())
    params = {
        k: v[None] for k, v in draw_initial_params(network, generator=torch.Generator()).items()
    }
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        over_members(
            lambda p, _: torch.func.functional_call(network, p, (x[:, :2],)), params, {},
            network=network,
        )  # fmt: skip


class Noisy(Network):
    def middle(self, h: Tensor) -> Tensor:
        return nn.functional.dropout(h, 0.5)


def test_random_networks_are_refused_and_dropout_modules_are_not() -> None:
    x, _ = _data()
    with pytest.raises(ValueError, match=r"network: expected the same values.*torch.nn.Dropout"):
        prepared(Noisy().double(), ntkgp_lin(), x)
    with pytest.raises(ValueError, match=r"network: expected parameters that can be trained"):
        prepared(nn.Sequential(nn.LayerNorm(3)).double(), ntkgp_lin(), x)
    fine = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    assert not prepared(fine, ntkgp_param(), x).training
