"""Rules of single layers: what each does to covariances, and where it has no rule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesnn.kernels import nngp, ntk
from bayesnn.kernels.state import KernelState
from bayesnn.networks import (
    AttentionMixing,
    Cosine,
    Erf,
    FourierFeatures,
    InfiniteFourierFeatures,
    NTKConv2d,
    NTKLinear,
    Residual,
    Sine,
    TokenMean,
    mlp,
)
from bayesnn.seeds import seeded_generator

SCALES = {"weight_std": 1.3, "bias_std": 0.4}


def _points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded_generator(seed))


def _norm(*shape: int) -> nn.LayerNorm:
    return nn.LayerNorm(shape, elementwise_affine=False, eps=1e-3)


def test_constant_attention_maps_covariances_by_its_matrix() -> None:
    """K of all pairs of tokens goes to A K Aᵀ, and the outputs are Gaussian with it."""
    mixing = AttentionMixing(4, queries=3, generator=seeded_generator(1)).double()
    network = nn.Sequential(
        NTKLinear(2, 5, **SCALES), mixing, nn.Flatten(), NTKLinear(15, 1, **SCALES)
    )
    x, z = _points(3, 4, 2), _points(2, 4, 2, seed=1)
    tokens = 1.3**2 * torch.einsum("itc,juc->ijtu", x, z) / 2 + 0.4**2
    mixed = mixing.weights @ tokens @ mixing.weights.T
    mean = mixed.diagonal(dim1=2, dim2=3).mean(2)
    expected = 1.3**2 * mean + 0.4**2
    torch.testing.assert_close(nngp(network)(x, z), expected)
    torch.testing.assert_close(ntk(network)(x, z), expected + 1.3**2 * mean)


def test_one_uniform_query_is_the_mean_over_tokens() -> None:
    uniform = nn.Sequential(AttentionMixing(4, queries=1, logit_std=0.0), nn.Flatten())
    start, end = [NTKLinear(2, 5), nn.ReLU()], [NTKLinear(5, 1)]
    x = _points(3, 4, 2)
    for kernel in (nngp, ntk):
        torch.testing.assert_close(
            kernel(nn.Sequential(*start, uniform.double(), *end))(x),
            kernel(nn.Sequential(*start, TokenMean(), *end))(x),
        )


def test_tokens_without_mixing_are_the_mean_of_vectors() -> None:
    dense = mlp(in_features=2, out_features=5, width=5, depth=1, activation=Erf(), **SCALES)
    network = nn.Sequential(dense, nn.Flatten(), NTKLinear(20, 1, weight_std=1.0, bias_std=0.0))
    x, z = _points(3, 4, 2), _points(2, 4, 2, seed=1)
    each = torch.stack([nngp(dense)(x[:, t], z[:, t]) for t in range(4)])
    torch.testing.assert_close(nngp(network)(x, z), each.mean(0))


def test_layer_norm_gives_correlations() -> None:
    """After a linear layer K' is the correlation of u, after a ReLU that of max(0, u)."""
    x = 2 * _points(5, 3)
    linear = NTKLinear(3, 4, weight_std=1.0, bias_std=0.0)
    end = NTKLinear(4, 1, weight_std=1.0, bias_std=0.0)
    sharp = nn.LayerNorm(4, elementwise_affine=False, eps=0.0)
    cosine = nn.functional.cosine_similarity(x[:, None], x, dim=2)
    found = nngp(nn.Sequential(linear, sharp, end))(x)
    torch.testing.assert_close(found, cosine)
    angle = cosine.clamp(-1, 1).acos().fill_diagonal_(0.0)
    # of unit variances: E[φφ] − E[φ]², with E[φ]² = 1/2π, over its value at angle 0
    product = (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
    expected = (product - 1 / (2 * math.pi)) / (0.5 - 1 / (2 * math.pi))
    found = nngp(nn.Sequential(linear, nn.ReLU(), sharp, end))(x)
    torch.testing.assert_close(found, expected)


@given(seed=st.integers(0, 100), factor=st.floats(0.1, 10.0))
def test_layer_norm_forgets_sizes(seed: int, factor: float) -> None:
    norm = nn.LayerNorm(4, elementwise_affine=False, eps=0.0)
    network = nn.Sequential(NTKLinear(3, 4, bias_std=0.0), nn.ReLU(), norm, NTKLinear(4, 1))
    x = _points(4, 3, seed=seed)
    torch.testing.assert_close(nngp(network)(factor * x), nngp(network)(x))


@pytest.mark.parametrize("frequency", [0.3, 2.0])
def test_sines_and_cosines_together_are_stationary(frequency: float) -> None:
    """E[sin ωu sin ωv] + E[cos ωu cos ωv] = exp(−ω²σ_w²|x − z|²/2d)."""
    x, z = _points(4, 3), _points(3, 3, seed=1)
    total = sum(
        nngp(mlp(
            in_features=3, out_features=1, width=1, depth=1, activation=wave, weight_std=1.0,
            bias_std=0.0,
        ))(x, z)
        for wave in (Sine(frequency=frequency), Cosine(frequency=frequency))
    )  # fmt: skip
    expected = torch.exp(-(frequency**2) * torch.cdist(x, z) ** 2 / 6)
    torch.testing.assert_close(total, expected)


def _after(features: nn.Module) -> nn.Module:
    body = mlp(in_features=2, out_features=1, width=1, depth=2, activation=nn.ReLU(), **SCALES)
    return nn.Sequential(features, body)


@pytest.mark.parametrize("of", [nngp, ntk])
def test_many_frequencies_tend_to_the_limit(of: type, device: str) -> None:
    """The error falls as 1/√frequencies: 64 times as many make it about 8 times smaller."""
    x = (0.3 * _points(12, 2)).to(device)
    limit = of(_after(InfiniteFourierFeatures(2, frequency_std=3.0)))(x)
    errors = []
    for n in (100, 6400):
        squares = []
        for seed in range(8):
            generator = seeded_generator(2, n, seed)
            finite = FourierFeatures(2, n, frequency_std=3.0, generator=generator).to(x)
            squares.append((of(_after(finite))(x) - limit).square().mean())
        errors.append(float(torch.stack(squares).mean().sqrt()))
    assert 5 < errors[0] / errors[1] < 13
    assert errors[1] < 0.01 * float(limit.max())


def test_the_limit_is_exact_where_points_are_near_and_in_single_precision() -> None:
    network = nn.Sequential(
        InfiniteFourierFeatures(2, frequency_std=40.0), NTKLinear(1, 1, weight_std=1.0, bias_std=0)
    )
    x = torch.tensor([[0.9, -0.8], [0.9 + 1e-4, -0.8], [0.9, -0.8], [-1.0, 1.0]])
    gaps = (x.double()[:, None] - x.double()).square().sum(2)
    expected = 0.5 * torch.exp(-(40.0**2) * gaps / 2)
    torch.testing.assert_close(nngp(network)(x.double()), expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(nngp(network)(x), expected.float(), rtol=1e-6, atol=1e-12)
    kernel = nngp(network)
    std = torch.tensor(40.0, dtype=torch.float64, requires_grad=True)
    value = kernel.with_hyperparameters({"0.frequency_std": std})(x.double())[0, 1]
    (slope,) = torch.autograd.grad(value, std)
    torch.testing.assert_close(slope, -40 * gaps[0, 1] * expected[0, 1])
    with pytest.raises(ValueError, match="draw FourierFeatures"):
        network(x)


class Halved(nn.Module):
    """A layer of a user's with a rule of its own."""

    def propagate_kernel(self, state: KernelState, _: object) -> KernelState:
        return state.map(lambda values: values / 4)


def test_a_module_may_bring_its_own_rule() -> None:
    x = _points(3, 2)
    end = NTKLinear(2, 1, weight_std=1.0, bias_std=0.0)
    torch.testing.assert_close(nngp(nn.Sequential(Halved(), end))(x), nngp(end)(x) / 4)


LINEAR = NTKLinear(3, 3)


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([nn.ReLU(), LINEAR], (3,), "activation has a kernel rule where its input is Gaussian"),
        ([LINEAR, nn.ReLU(), Erf()], (3,), "activation has a kernel rule where"),
        ([LINEAR, nn.ReLU(), _norm(3), Erf()], (3,), "activation has a kernel rule where"),
        ([_norm(3), LINEAR], (3,), "layer normalisation has a kernel rule after a linear layer"),
        ([LINEAR, nn.LayerNorm(3)], (3,), "layer normalisation .* scale is 1"),
        ([NTKConv2d(3, 3, kernel_size=1), _norm(4)], (3, 4, 4), "over the features of vectors"),
        ([LINEAR, Residual(nn.Identity())], (3,), "a residual branch has a kernel rule"),
        ([LINEAR, Residual(_norm(3))], (3,), "a residual branch has a kernel rule"),
        ([LINEAR, Residual(nn.Sequential(nn.ReLU(), NTKLinear(3, 3), Erf()))], (3,), "a residual"),
        ([NTKLinear(4, 3)], (3, 4, 4), "a dense layer needs vectors or sequences"),
        ([AttentionMixing(4)], (3,), "AttentionMixing needs sequences"),
        ([AttentionMixing(5)], (4, 3), "AttentionMixing expects 5 tokens, got 4"),
        ([TokenMean()], (3, 4, 4), "TokenMean needs sequences"),
        ([nn.AvgPool2d(2, ceil_mode=True)], (3, 4, 4), "average pooling has a kernel rule with"),
        ([InfiniteFourierFeatures(3, frequency_std=1.0)], (4, 3), "takes coordinates"),
    ],
)
def test_what_has_no_rule_is_said(
    layers: list[nn.Module], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nngp(nn.Sequential(*layers))(_points(2, *shape))
