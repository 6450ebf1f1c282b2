"""Describing a network and building it again gives the same function."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import (
    Erf,
    FourierFeatures,
    NTKLinear,
    StandardLinear,
    build,
    describe,
    mlp,
    prior_precision,
)

ACTIVATIONS = [
    Erf(),
    nn.CELU(alpha=0.7),
    nn.ELU(alpha=0.3),
    nn.GELU(approximate="tanh"),
    nn.GELU(),
    nn.Hardswish(),
    nn.Identity(),
    nn.LeakyReLU(0.3),
    nn.Mish(),
    nn.ReLU(inplace=True),
    nn.ReLU6(),
    nn.SELU(),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softplus(beta=2, threshold=1.5),
    nn.Softsign(),
    nn.Tanh(),
]


def through_json(network: nn.Module) -> nn.Module:
    return build(json.loads(json.dumps(describe(network))))


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: str(a))
@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear])
def test_mlps_come_back_as_the_same_function(activation: nn.Module, linear: Any) -> None:
    network = mlp(
        in_features=3,
        out_features=2,
        width=7,
        depth=2,
        activation=activation,
        weight_std=1.1,
        bias_std=0.3,
        linear=linear,
    )
    again = through_json(network)
    again.load_state_dict(network.state_dict(), assign=True)
    x = 3 * points(50, 3)
    assert torch.equal(again(x), network(x))
    for name, precision in prior_precision(network).items():
        assert torch.equal(prior_precision(again)[name], precision)


def test_features_without_bias_and_nested_sequences_come_back() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Flatten(start_dim=1), FourierFeatures(4, 5, frequency_std=3.0)),
        nn.Sequential(),
        NTKLinear(10, 1, weight_std=0.9, bias_std=0.0),
    )
    again = through_json(network)
    x = points(6, 2, 2)
    assert not torch.equal(again(x), network(x))
    again.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(again(x), network(x))
    assert [name for name, _ in again.named_modules()] == [n for n, _ in network.named_modules()]


def test_double_precision_comes_back_with_the_state() -> None:
    network = mlp(in_features=1, out_features=1, width=4, depth=1, activation=Erf()).double()
    again = through_json(network)
    again.load_state_dict(network.state_dict(), assign=True)
    x = points(5, 1).double()
    assert torch.equal(again(x), network(x))


def test_named_modules_and_reused_activations_keep_their_places() -> None:
    relu = nn.ReLU()
    network = nn.Sequential()
    network.add_module("first", NTKLinear(2, 3))
    network.add_module("a", relu)
    network.add_module("second", NTKLinear(3, 3))
    network.add_module("b", relu)
    again = through_json(network)
    again.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(again(points(9, 2)), network(points(9, 2)))


def test_frozen_parameters_stay_frozen() -> None:
    network = nn.Sequential(NTKLinear(2, 3), Erf(), NTKLinear(3, 1))
    network[0].weight.requires_grad = network[0].bias.requires_grad = False
    names = [name for name, p in through_json(network).named_parameters() if p.requires_grad]
    assert names == ["2.weight", "2.bias"]


def test_building_leaves_the_global_stream_alone() -> None:
    description = describe(nn.Sequential(FourierFeatures(1, 2, frequency_std=1.0), NTKLinear(4, 1)))
    state = torch.random.get_rng_state()
    build(description)
    assert torch.equal(state, torch.random.get_rng_state())


class Doubled(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_unknown_and_shared_modules_are_refused() -> None:
    for unknown in (Doubled(), nn.Linear(1, 1), nn.Dropout()):
        with pytest.raises(ValueError, match=r"cannot be described.*pass network= when loading"):
            describe(nn.Sequential(unknown))
    shared = NTKLinear(2, 2)
    with pytest.raises(ValueError, match=r"NTKLinear shares.*pass network="):
        describe(nn.Sequential(shared, Erf(), nn.Sequential(shared)))


LINEAR = {
    "type": "NTKLinear",
    "in_features": 2,
    "out_features": 1,
    "weight_std": 1.0,
    "bias_std": 0.1,
}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"type": "os.system"},
        {"type": ["NTKLinear"]},
        {"type": "Linear", "in_features": 1, "out_features": 1},
        {"type": "Erf", "alpha": 1.0},
        {"type": "Sequential"},
        {"type": "Sequential", "modules": [1]},
        {"type": "Sequential", "modules": [[3, {"type": "Erf"}]]},
        {"type": "Sequential", "modules": [["a.b", {"type": "Erf"}]]},
        {"type": "Sequential", "modules": [["0", {"type": "eval"}]]},
        {"type": "GELU", "approximate": 3},
        {"type": "LeakyReLU"},
        {**LINEAR, "in_features": 0},
        {**LINEAR, "in_features": 2.5},
        {**LINEAR, "weight_std": float("nan")},
        {**LINEAR, "weight_std": "1"},
        {**LINEAR, "bias_std": True},
        {**LINEAR, "frozen": ["nothing"]},
        {**LINEAR, "frozen": 3},
        {**LINEAR, "generator": 1},
    ],
    ids=lambda w: str(w)[:40],
)
def test_descriptions_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"expect|unknown|cannot be built"):
        build(wrong)
