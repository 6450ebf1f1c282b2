"""The layer-by-layer Jacobian against the explicit one, and both against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from bayesnn.networks import (
    Erf,
    NTKLinear,
    StandardLinear,
    draw_initial_params,
    mlp,
    prior_precision,
)
from bayesnn.seeds import seeded_generator
from ensembles.linearisation import (
    ExplicitJacobian,
    Jacobian,
    LayerwiseJacobian,
    jacobian,
)

M, N = 3, 4


class Residual(nn.Module):
    """Layers that are registered in another order than they run, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.out = NTKLinear(6, 2, bias_std=0.3)
        self.hidden = StandardLinear(6, 6, bias_std=0)
        self.first = NTKLinear(2, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.out(h + torch.tanh(self.hidden(h)))


class Twice(nn.Module):
    """A layer that runs twice: no layer-by-layer form."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = NTKLinear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(torch.tanh(self.shared(x)))


def _mlp(linear: type[NTKLinear | StandardLinear]) -> nn.Module:
    return mlp(in_features=2, out_features=2, width=6, depth=2, activation=Erf(), linear=linear)


NETWORKS = {
    "ntk mlp": (lambda: _mlp(NTKLinear), LayerwiseJacobian),
    "standard mlp": (lambda: _mlp(StandardLinear), LayerwiseJacobian),
    "residual": (Residual, LayerwiseJacobian),
    "twice": (Twice, ExplicitJacobian),
}


def _case(name: str) -> tuple[nn.Module, dict[str, Tensor], Tensor, Jacobian]:
    build, kind = NETWORKS[name]
    network = build().double()
    draws = [draw_initial_params(network, generator=seeded_generator(0, i)) for i in range(M)]
    params = {key: torch.stack([d[key] for d in draws]) for key in draws[0]}
    x = torch.randn(N, 2, dtype=torch.float64, generator=seeded_generator(1))
    linear = jacobian(network, params, x)
    assert isinstance(linear, kind)
    return network, params, x, linear


def _naive_rows(
    network: nn.Module, params: dict[str, Tensor], x: Tensor, m: int
) -> dict[str, Tensor]:
    one = {key: value[m] for key, value in params.items()}
    return jacrev(lambda p: functional_call(network, p, (x,)))(one)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_agrees_with_autograd(name: str) -> None:
    network, params, x, linear = _case(name)
    precision = prior_precision(network)
    generator = seeded_generator(3)
    direction = {
        key: torch.randn(value.shape, dtype=value.dtype, generator=generator)
        for key, value in params.items()
    }
    cotangent = torch.randn(M, N, 2, dtype=torch.float64, generator=seeded_generator(2))
    kernel, times = linear.kernel(), linear.times(direction)
    pulled = linear.preconditioned_transpose(cotangent)
    for m in range(M):
        one = {key: value[m] for key, value in params.items()}
        torch.testing.assert_close(linear.values[m], functional_call(network, one, (x,)))
        rows = _naive_rows(network, params, x, m)
        points_fastest = {key: j.transpose(0, 1).reshape(2 * N, -1) for key, j in rows.items()}
        expected = sum((j / precision[key].flatten()) @ j.T for key, j in points_fastest.items())
        torch.testing.assert_close(kernel[m], expected)
        pushed = [
            torch.einsum("nkp,p->nk", j.flatten(2), direction[key][m].flatten())
            for key, j in rows.items()
        ]
        torch.testing.assert_close(times[m], torch.stack(pushed).sum(0))
        for key, j in rows.items():
            expected = torch.einsum("nk...,nk->...", j, cotangent[m]) / precision[key]
            torch.testing.assert_close(pulled[key][m], expected)


def test_no_hook_stays_on_the_network() -> None:
    network, *_ = _case("ntk mlp")
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
