"""The bridge: the same functions, kernels and posteriors from two frameworks that share no code."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bayesnn.gp import gp_posterior
from bayesnn.gradient_flow import deep_ensemble_distribution
from bayesnn.interop.neural_tangents import (
    params_from_neural_tangents,
    params_to_neural_tangents,
    reference_posterior,
    to_neural_tangents,
)
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import (
    Erf,
    NTKConv2d,
    NTKLinear,
    Residual,
    StandardLinear,
    convnet,
    mlp,
    resnet,
)
from bayesnn.predictive import Predictive
from bayesnn.reference_file import load_reference, save_reference
from bayesnn.seeds import seeded_generator

Builder = Callable[[nn.Module, int, int], nn.Module]  # of activation, depth and seed
SCALES = {"weight_std": 1.4, "bias_std": 0.3}


def _dense(activation: nn.Module, depth: int, seed: int, linear: type = NTKLinear) -> nn.Module:
    return mlp(
        in_features=3, out_features=2, width=8, depth=depth, activation=activation, linear=linear,
        generator=seeded_generator(seed), **SCALES,
    ).double()  # fmt: skip


def _standard(activation: nn.Module, depth: int, seed: int) -> nn.Module:
    return _dense(activation, depth, seed, StandardLinear)


def _residual(activation: nn.Module, depth: int, seed: int) -> nn.Module:
    return resnet(
        in_features=3, out_features=2, width=6, depth=depth + 1, activation=activation,
        generator=seeded_generator(seed), **SCALES,
    ).double()  # fmt: skip


def _pooled(activation: nn.Module, depth: int, seed: int) -> nn.Module:
    return convnet(
        in_channels=2, out_features=2, width=4, depth=min(depth, 2) + 1, activation=activation,
        generator=seeded_generator(seed), **SCALES,
    ).double()  # fmt: skip


def _flattened(activation: nn.Module, depth: int, seed: int) -> nn.Module:
    """Convolutions with and without padding, residual blocks, pooling, two dense layers."""
    generator = seeded_generator(seed)

    def convolution(channels: int, width: int, **settings: int) -> nn.Module:
        return NTKConv2d(channels, width, kernel_size=3, generator=generator, **SCALES, **settings)

    blocks = [
        Residual(nn.Sequential(activation, convolution(4, 4, padding=1)), scale=0.6)
        for _ in range(min(depth, 2))
    ]
    return nn.Sequential(
        convolution(2, 4, padding=1), *blocks, activation, nn.AvgPool2d(2),
        convolution(4, 3, stride=1), activation, nn.Flatten(),
        NTKLinear(3, 5, generator=generator, **SCALES), activation, NTKLinear(5, 2, **SCALES),
    ).double()  # fmt: skip


BUILDERS: list[Builder] = [_dense, _standard, _residual, _pooled, _flattened]


def _points(build: Builder, n: int, seed: int) -> Tensor:
    shape = (2, 6, 7) if build in {_pooled, _flattened} else (3,)
    return torch.randn(n, *shape, dtype=torch.float64, generator=seeded_generator(seed, n))


def _there(x: Tensor) -> np.ndarray:
    return (x if x.ndim == 2 else x.permute(0, 2, 3, 1)).numpy()


def _data(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(seed)
    shapes = ((6, 3), (6, 2), (4, 3))
    x, y, points = (torch.randn(s, dtype=torch.float64, generator=generator) for s in shapes)
    return x, y, points


@pytest.mark.parametrize("build", BUILDERS)
def test_the_same_weights_give_the_same_outputs(build: Builder) -> None:
    network, x = build(Erf(), 2, 0), _points(build, 5, 0)
    jax = importlib.import_module("jax")
    theirs = params_to_neural_tangents(network)
    with jax.experimental.enable_x64():
        outputs = np.asarray(to_neural_tangents(network).apply(theirs, _there(x)))
    np.testing.assert_allclose(outputs, network(x).detach().numpy(), rtol=1e-10)
    back = params_from_neural_tangents(network, theirs)
    assert back.keys() == dict(network.named_parameters()).keys()
    for name, value in network.named_parameters():
        torch.testing.assert_close(back[name], value.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("distribution", ["nngp", "ntkgp", "deep_ensemble"])
def test_reference_posteriors_equal_ours(distribution: str, tmp_path: Path) -> None:
    network, (x, y, points) = _dense(Erf(), 2, 0), _data()
    time = 50.0 if distribution == "deep_ensemble" else math.inf
    reference = reference_posterior(
        network, x, y, points, distribution=distribution, noise_std=0.2, time=time
    )
    ours: Predictive
    if distribution == "deep_ensemble":
        ours = deep_ensemble_distribution(
            nngp(network), ntk(network), x, y, points, noise_std=0.2, time=time
        )
    else:
        kernel = nngp(network) if distribution == "nngp" else ntk(network)
        ours = gp_posterior(kernel, x, y, points, noise_std=0.2)
    assert ours.covariance is not None
    torch.testing.assert_close(reference.mean, ours.mean, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(reference.covariance, ours.covariance[0], rtol=1e-8, atol=1e-9)
    prior = ntk(network) if distribution == "ntkgp" else nngp(network)
    torch.testing.assert_close(reference.prior_variance, prior.diagonal(points))
    save_reference(reference, tmp_path / "reference")
    again = load_reference(tmp_path / "reference")
    assert again.time == time
    assert again.network == reference.network
    assert torch.equal(again.covariance, reference.covariance)


def test_damaged_and_foreign_references_are_refused(tmp_path: Path) -> None:
    network, (x, y, points) = _dense(Erf(), 1, 0), _data()
    path = tmp_path / "reference"
    save_reference(
        reference_posterior(network, x, y, points, distribution="nngp", noise_std=0.2), path
    )
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="damaged"):
            load_reference(path)
    first = whole.index(np.ascontiguousarray(x.numpy()).tobytes())
    path.write_bytes(whole[:first] + bytes([whole[first] ^ 1]) + whole[first + 1 :])
    with pytest.raises(ValueError, match="digest"):
        load_reference(path)
    with pytest.raises(ValueError, match="no such file"):
        load_reference(tmp_path / "nothing")


def test_what_cannot_be_asked_is_said() -> None:
    network, (x, y, points) = _dense(Erf(), 2, 0), _data()
    with pytest.raises(ValueError, match="no counterpart of Tanh"):
        to_neural_tangents(_dense(nn.Tanh(), 2, 0))
    with pytest.raises(ValueError, match="distribution: expected one of"):
        reference_posterior(network, x, y, points, distribution="ntkgp_fn", noise_std=0.1)
    with pytest.raises(ValueError, match="finite flow time"):
        reference_posterior(network, x, y, points, distribution="deep_ensemble", noise_std=0.1)
    with pytest.raises(ValueError, match="y: expected 6 rows"):
        reference_posterior(network, x, y[:3], points, distribution="nngp", noise_std=0.1)
    with pytest.raises(ValueError, match="average pooling has a counterpart with whole windows"):
        to_neural_tangents(nn.AvgPool2d(2, ceil_mode=True))
    with pytest.raises(ValueError, match="no counterpart of LayerNorm"):
        to_neural_tangents(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="expected 5 layers"):
        params_from_neural_tangents(network, [])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neural_tangents.stax", None)
    with pytest.raises(ImportError, match=r"bayesnn\[reference\].*jax 0\.5\.3"):
        to_neural_tangents(_dense(Erf(), 2, 0))
