"""Convolutions, residual blocks and the networks that are built of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call

from bayesnn.networks import (
    Erf,
    NTKConv2d,
    NTKLinear,
    Residual,
    StandardLinear,
    build,
    convnet,
    describe,
    draw_initial_params,
    prior_precision,
    readout_names,
    resnet,
)
from bayesnn.seeds import seeded_generator


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(1))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_a_convolution_is_a_linear_layer_on_every_patch(stride: int, padding: int) -> None:
    layer = NTKConv2d(
        2, 4, kernel_size=3, stride=stride, padding=padding, weight_std=1.2, bias_std=0.3
    ).double()
    dense = NTKLinear(2 * 9, 4, weight_std=1.2, bias_std=0.3).double()
    params = draw_initial_params(layer, generator=seeded_generator(2))
    x = images(5, 2, 7, 6)
    patches = nn.functional.unfold(x, 3, stride=stride, padding=padding).mT
    on_patches = {"weight": params["weight"].flatten(1), "bias": params["bias"]}
    expected = functional_call(dense, on_patches, (patches,)).mT
    found = functional_call(layer, params, (x,))
    torch.testing.assert_close(found.flatten(2), expected)
    torch.testing.assert_close(functional_call(layer, params, (x[0],)), found[0])


def test_a_convolution_is_drawn_from_its_prior() -> None:
    layer = NTKConv2d(8, 60, kernel_size=5, generator=seeded_generator(4))
    for name, parameter in layer.named_parameters():
        assert bool((prior_precision(layer)[name] == 1).all())
        n = parameter.numel()
        assert abs(float(parameter.detach().square().mean()) - 1) < 5 * math.sqrt(2 / n)
    assert layer.fan_in == 8 * 25
    assert NTKConv2d(1, 1, kernel_size=1, bias_std=0).bias is None


@pytest.mark.parametrize(
    "bad",
    [
        {"kernel_size": 0}, {"stride": 0}, {"padding": -1}, {"in_channels": 0},
        {"out_channels": 0}, {"weight_std": 0.0}, {"bias_std": -1.0},
    ],
    ids=lambda bad: next(iter(bad)),
)  # fmt: skip
def test_impossible_convolutions_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        NTKConv2d(**({"in_channels": 2, "out_channels": 2, "kernel_size": 3} | bad))


@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear])
def test_a_resnet_is_its_layers(linear: Any) -> None:
    net = resnet(
        in_features=2, out_features=3, width=4, depth=2, activation=nn.Tanh(), linear=linear
    ).double()
    x = images(5, 2)
    y = net[0](x)
    for block in (net[1], net[2]):
        assert isinstance(block, Residual)
        y = y + block.branch[1](torch.tanh(y)) / math.sqrt(2)
    torch.testing.assert_close(net(x), net[4](torch.tanh(y)))
    assert readout_names(net) == ("4.weight", "4.bias")


@pytest.mark.parametrize("depth", [1, 8])
def test_the_variance_of_a_resnet_is_bounded(depth: int) -> None:
    """With ReLU, σ_w² = 2 and no bias it is |x|²·2/d·(1 + 1/L)^L.

    800 draws have a standard error of √(2/800) of it for Gaussian outputs; six of them leave room
    for the heavier tails of width 64. Without the scaling it is 2^L.
    """
    net = resnet(
        in_features=2, out_features=1, width=64, depth=depth, activation=nn.ReLU(),
        weight_std=math.sqrt(2), bias_std=0,
    )  # fmt: skip
    x = torch.tensor([[1.0, -2.0]])
    draws = [draw_initial_params(net, generator=seeded_generator(0, i)) for i in range(800)]
    params = {name: torch.stack([d[name] for d in draws]) for name in draws[0]}
    values = torch.func.vmap(lambda p: functional_call(net, p, (x,)))(params)
    expected = 5.0 * (1 + 1 / depth) ** depth
    assert abs(float(values.square().mean()) / expected - 1) < 6 * math.sqrt(2 / 800)


def test_a_convnet_is_its_layers() -> None:
    net = convnet(
        in_channels=2, out_features=3, width=4, depth=2, activation=Erf(), kernel_size=5, stride=2
    ).double()
    x = images(6, 2, 9, 8)
    hidden = torch.erf(net[2](torch.erf(net[0](x))))
    assert hidden.shape == (6, 4, 3, 2)
    torch.testing.assert_close(net(x), net[6](hidden.mean((2, 3))))


@pytest.mark.parametrize(
    "net",
    [
        resnet(in_features=2, out_features=1, width=4, depth=2, activation=nn.ReLU()),
        convnet(in_channels=2, out_features=1, width=4, depth=2, activation=Erf(), stride=2),
        nn.Sequential(NTKConv2d(2, 3, kernel_size=1, bias_std=0), Residual(nn.ReLU(), scale=0.3)),
    ],
    ids=["resnet", "convnet", "nested"],
)
def test_they_can_be_described(net: nn.Sequential) -> None:
    again = build(describe(net))
    again.load_state_dict(net.state_dict(), assign=True)
    x = images(3, 2) if isinstance(net[0], NTKLinear) else images(3, 2, 6, 6)
    assert torch.equal(again(x.float()), net(x.float()))


@pytest.mark.parametrize(
    "damage", [{"scale": -1.0}, {"scale": "1"}, {"branch": {}}, {"more": 1}], ids=str
)
@pytest.mark.usefixtures("as_users_run")
def test_damaged_residual_blocks_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"network|scale"):
        build(describe(Residual(nn.ReLU())) | damage)


@pytest.mark.usefixtures("as_users_run")
def test_impossible_networks_are_refused() -> None:
    good = {"out_features": 1, "width": 4, "depth": 1, "activation": nn.ReLU()}
    with pytest.raises(ValueError, match="kernel_size: expected an odd number"):
        convnet(in_channels=1, kernel_size=4, **good)
    for bad in ({"depth": 0}, {"width": 0}, {"activation": nn.ReLU}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            convnet(in_channels=1, **(good | bad))
        with pytest.raises(ValueError, match=next(iter(bad))):
            resnet(in_features=1, **(good | bad))
