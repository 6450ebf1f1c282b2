"""The Jacobian of every kind of network against plain autograd, member by member."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from bayesnn.networks import Erf, NTKConv2d, NTKLinear, StandardLinear, mlp
from bayesnn.seeds import seeded_generator
from ensembles import linearisation
from ensembles.linearisation import jacobian, linearise

M, N, K = 3, 4, 2
F64 = torch.float64


class Residual(nn.Module):
    """Layers that are registered in another order than they run, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.out = NTKLinear(6, K, bias_std=0.3)
        self.hidden = StandardLinear(6, 6, bias_std=0)
        self.first = NTKLinear(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.out(h + torch.tanh(self.hidden(h)))


class Twice(nn.Module):
    """A layer that runs twice, beside one that runs once."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = NTKLinear(2, 2)
        self.out = NTKLinear(2, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.shared(torch.tanh(self.shared(x))))


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, K)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Convolutions(nn.Module):
    """Strides, dilation, padding by name and by size, one frozen bias; images [n, 2, 6, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, (3, 2), padding="same", dilation=(1, 2))
        self.second = nn.Conv2d(3, 4, 3, stride=2, padding=(1, 0), padding_mode="circular")
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.out = nn.Linear(4, K)
        assert self.second.bias is not None
        self.second.bias.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.out(self.grouped(h).mean((2, 3)))


class NTKConvolutions(nn.Module):
    """A convolution in NTK parametrisation on [n, 2, 6, 5], and one without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = NTKConv2d(2, 3, kernel_size=3, stride=2, padding=1)
        self.second = NTKConv2d(3, 4, kernel_size=2, bias_std=0.0)
        self.out = NTKLinear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.out(h.mean((2, 3)))


class Sequences(nn.Module):
    """A convolution in time, layers on [n, tokens, features], attention and a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv1d(2, 4, 2, stride=2)
        self.query, self.key, self.value = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.shift = nn.Parameter(torch.zeros(3, 4))
        self.out = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:  # [n, 2, 6] -> 3 tokens
        h = self.embed(x).transpose(1, 2) + self.shift
        weights = torch.softmax(self.query(h) @ self.key(h).transpose(1, 2), dim=-1)
        return self.out(self.norm(h + weights @ self.value(h)).mean(1))


class Swapped(nn.Module):
    """A layer that sees [tokens, n, features] with as many tokens as there are points."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(2, 3), nn.Linear(3, K)

    def forward(self, x: Tensor) -> Tensor:  # [n, N, 2]
        return self.out(torch.tanh(self.layer(x.transpose(0, 1))).mean(0))


class Branches(nn.Module):
    """A choice that depends on a number: vmap cannot take it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(2, 3), nn.Linear(3, K)
        self.raw = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if float(self.first.weight.detach().sum()) > 0:
            h = torch.tanh(h)
        return self.out(h * torch.exp(self.raw))


def _mlp(linear: type[NTKLinear | StandardLinear]) -> nn.Module:
    return mlp(in_features=2, out_features=K, width=6, depth=2, activation=Erf(), linear=linear)


# how to build it, the shape of a point, and what is not taken layer by layer
NETWORKS = {
    "ntk mlp": (lambda: _mlp(NTKLinear), (2,), set()),
    "standard mlp": (lambda: _mlp(StandardLinear), (2,), set()),
    "residual": (Residual, (2,), set()),
    "twice": (Twice, (2,), {"shared.weight", "shared.bias"}),
    "tied": (Tied, (2,), {"first.weight", "first.bias", "second.bias"}),
    "convolutions": (Convolutions, (2, 6, 5), {"grouped.weight", "grouped.bias"}),
    "ntk convolutions": (NTKConvolutions, (2, 6, 5), set()),
    "sequences": (Sequences, (2, 6), {"norm.weight", "norm.bias", "shift"}),
    "swapped": (Swapped, (N, 2), {"layer.weight", "layer.bias"}),
    "branches": (Branches, (2,), {"raw"}),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(params=["given", "varied"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One precision a tensor, or one an entry."""

    def found(network: nn.Module) -> dict[str, Tensor]:
        generator = seeded_generator(7)
        return {
            name: torch.rand(
                p.shape if request.param == "varied" else (), dtype=F64, generator=generator
            ).add(0.5).to(p.device).expand(p.shape).clone()
            for name, p in network.named_parameters()
            if p.requires_grad
        }  # fmt: skip

    monkeypatch.setattr(linearisation, "prior_precision", found)
    return str(request.param)


def _case(name: str) -> tuple[nn.Module, dict[str, Tensor], Tensor]:
    build, shape, _ = NETWORKS[name]
    network = build().double()
    generator = seeded_generator(0)
    params = {
        key: torch.randn(M, *p.shape, dtype=F64, generator=generator)
        for key, p in network.named_parameters()
        if p.requires_grad
    }
    return network, params, torch.randn(N, *shape, dtype=F64, generator=seeded_generator(1))


def _random_like(params: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    generator = seeded_generator(seed)
    return {key: torch.randn(v.shape, dtype=F64, generator=generator) for key, v in params.items()}


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("budget", [None, 1], ids=["one block", "a block a point"])
@each_network
def test_it_agrees_with_autograd(name: str, budget: int | None, device: str) -> None:
    network, params, x = _case(name)
    network, x = network.to(device), x.to(device)
    params = {key: value.to(device) for key, value in params.items()}
    direction = {key: value.to(device) for key, value in _random_like(params, 3).items()}
    cotangent = torch.randn(M, N, K, dtype=F64, generator=seeded_generator(2)).to(device)
    ready = linearise(network, x, memory_budget=budget)
    assert set(ready.rest) == NETWORKS[name][2]
    assert ready.vectorised == (name != "branches")
    assert len(ready.blocks(M)) == (N if budget == 1 else 1)
    linear = ready.at(params)
    kernel, times = linear.kernel(), linear.times(direction)
    mean_kernel = linear.mean_kernel()
    pulled = linear.preconditioned_transpose(cotangent)
    for m in range(M):
        one = {key: value[m] for key, value in params.items()}
        torch.testing.assert_close(linear.values[m], functional_call(network, one, (x,)))
        rows = _naive_rows(network, one, x)
        expected = torch.zeros(K * N, K * N, dtype=F64, device=device)
        pushed = torch.zeros(N, K, dtype=F64, device=device)
        for key, j in rows.items():
            points_fastest = j.transpose(0, 1).reshape(K * N, -1)
            expected += (points_fastest / ready.precision[key].flatten()) @ points_fastest.T
            pushed += j.reshape(N, K, -1) @ direction[key][m].flatten()
            back = torch.einsum("nk...,nk->...", j, cotangent[m]) / ready.precision[key]
            torch.testing.assert_close(pulled[key][m], back)
        torch.testing.assert_close(kernel[m], expected)
        of_each = [expected.view(K, N, K, N)[j, :, j] for j in range(K)]
        torch.testing.assert_close(mean_kernel[m], torch.stack(of_each).mean(0))
        torch.testing.assert_close(times[m], pushed)


def _naive_rows(network: nn.Module, one: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    return jacrev(lambda p: functional_call(network, p, (x,)))(one)


@pytest.mark.usefixtures("precision")
def test_large_layers_are_formed_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network, params, x = _case("convolutions")
    whole = jacobian(network, params, x).kernel()
    monkeypatch.setattr("ensembles.jacobian_parts.ROWS_BUDGET", 1)
    torch.testing.assert_close(jacobian(network, params, x).kernel(), whole)


def test_no_hook_stays_on_the_network() -> None:
    network, params, x = _case("ntk mlp")
    jacobian(network, params, x).kernel()
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
