"""The prior over a network's parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import (
    Erf,
    NTKLinear,
    StandardLinear,
    draw_initial_params,
    mlp,
    prior_precision,
)
from bayesnn.seeds import seeded_generator


class Scale(nn.Module):
    """A layer of a user's, with a prior of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))

    def own_prior_precision(self) -> dict[str, float]:
        return {"log_scale": 16.0}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log_scale.exp()


def test_precision_is_one_over_the_variance_of_the_draws() -> None:
    net = mlp(
        in_features=2, out_features=1, width=64, depth=2, activation=Erf(), linear=StandardLinear
    )
    precision = prior_precision(net)
    draws = [draw_initial_params(net, generator=seeded_generator(0, i)) for i in range(400)]
    for name, value in precision.items():
        white = torch.stack([d[name] for d in draws]) * value.sqrt()
        assert abs(float(white.var()) - 1) < 5 * math.sqrt(2 / white.numel())
        assert abs(float(white.mean())) < 5 / math.sqrt(white.numel())


def test_drawing_leaves_the_network_and_global_state_alone() -> None:
    net = mlp(in_features=2, out_features=1, width=4, depth=1, activation=Erf())
    before = {name: p.clone() for name, p in net.named_parameters()}
    state = torch.random.get_rng_state()
    draw_initial_params(net, generator=seeded_generator(0))
    assert all(torch.equal(before[name], p) for name, p in net.named_parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_dtypes_agree_up_to_rounding() -> None:
    net = mlp(in_features=2, out_features=1, width=4, depth=1, activation=Erf())
    single = draw_initial_params(net, generator=seeded_generator(0))
    double = draw_initial_params(net.double(), generator=seeded_generator(0))
    for name, value in single.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, double[name].float())


def test_a_users_layer_with_a_prior_is_welcome() -> None:
    net = nn.Sequential(NTKLinear(2, 3), Scale(), NTKLinear(3, 1))
    assert float(prior_precision(net)["1.log_scale"]) == 16.0
    assert set(draw_initial_params(net, generator=seeded_generator(0))) == {
        name for name, _ in net.named_parameters()
    }


def test_unknown_priors_are_named_with_the_remedy() -> None:
    net = nn.Sequential(NTKLinear(2, 3), Offset())
    with pytest.raises(ValueError, match=r"prior of '1.offset' is unknown.*with_prior.*freeze it"):
        prior_precision(net)
    scaled = nn.Sequential(NTKLinear(2, 3), nn.LayerNorm(3))
    with pytest.raises(ValueError, match=r"'1.weight' starts at a constant.*with_prior"):
        prior_precision(scaled)


class Offset(nn.Module):
    """A raw parameter that starts at a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.full((3,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


def test_frozen_parameters_have_no_prior() -> None:
    net = nn.Sequential(nn.Linear(2, 3).requires_grad_(requires_grad=False), NTKLinear(3, 1))
    assert set(prior_precision(net)) == {"1.weight", "1.bias"}
