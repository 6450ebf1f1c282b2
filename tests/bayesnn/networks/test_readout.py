"""The read-out: found, named, and checked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesnn.networks import (
    Erf,
    NTKLinear,
    StandardLinear,
    draw_initial_params,
    mlp,
    readout_names,
    with_prior,
    with_readout,
)
from bayesnn.seeds import seeded_generator

X = torch.randn(5, 2, generator=seeded_generator(1))


class OutOfOrder(nn.Module):
    """Layers that are registered in another order than they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 1)
        self.body = nn.Linear(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).tanh())


class LastCallIsAux(nn.Module):
    """What runs last is not what makes the output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 4)
        self.auxiliary = nn.Linear(4, 3)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).tanh()
        result = self.head(hidden)
        self.auxiliary(hidden)
        return result


class RawReadout(nn.Module):
    """A read-out that is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 4)
        self.out = nn.Parameter(torch.randn(4, 1, generator=seeded_generator(0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).tanh() @ self.out


@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear])
def test_the_network_is_linear_in_its_readout(linear: type[NTKLinear | StandardLinear]) -> None:
    net = mlp(
        in_features=2, out_features=1, width=8, depth=2, activation=nn.Tanh(), linear=linear
    ).double()
    params = draw_initial_params(net, generator=seeded_generator(0))
    doubled = params | {name: 2 * params[name] for name in readout_names(net)}
    torch.testing.assert_close(
        functional_call(net, doubled, (X.double(),)),
        2 * functional_call(net, params, (X.double(),)),
    )


@pytest.mark.parametrize(
    ("network", "names"),
    [
        (OutOfOrder(), ("head.weight", "head.bias")),
        (LastCallIsAux(), ("head.weight", "head.bias")),
        (with_prior(RawReadout(), readout="out"), ("out",)),
        (nn.Sequential(nn.Linear(2, 3), nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 3),
                       nn.Flatten()), ("2.weight", "2.bias")),
        (nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 4, bias=False)), ("2.weight",)),
    ],
    ids=["out of order", "last call is another", "raw", "convolution", "no bias"],
)  # fmt: skip
def test_it_is_found(network: nn.Module, names: tuple[str, ...]) -> None:
    assert readout_names(with_readout(network, X)) == names
    assert readout_names(with_readout(network.double(), X.double())) == names


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(2, 3), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(2, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 3), nn.Tanh()),
        RawReadout(),
        with_prior(OutOfOrder(), readout="body"),
        with_prior(OutOfOrder(), readout=""),
    ],
    ids=["softmax", "relu", "tanh", "raw and unnamed", "wrongly named", "everything"],
)
def test_a_network_that_is_not_linear_in_it_is_refused_with_advice(network: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"not linear in the read-out.*softmax.*readout="):
        with_readout(network, X)


def test_a_shared_readout_is_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 2, bias=False))
    network[2].weight = network[0].weight
    with pytest.raises(ValueError, match=r"share no parameters"):
        with_readout(network, X)


def test_a_network_without_linear_layers_has_no_readout() -> None:
    for network in (nn.Sequential(Erf()), nn.Linear(2, 1).requires_grad_(requires_grad=False)):
        with pytest.raises(ValueError, match=r"expected a linear read-out layer, found none"):
            readout_names(network)
        with pytest.raises(ValueError, match=r"expected a linear read-out layer, found none"):
            with_readout(network, X)


def test_values_that_overflow_are_not_blamed_on_the_readout() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert readout_names(with_readout(network, torch.full((1, 2), 1e38))) == ("1.weight", "1.bias")
