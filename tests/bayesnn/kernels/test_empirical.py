"""The empirical NTK: against a loop over points, against infinite width, and matrix-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bayesnn.gp import gp_posterior
from bayesnn.kernels import empirical_ntk, ntk
from bayesnn.kernels.empirical.blocks import TangentBlocks
from bayesnn.kernels.empirical.cost import measure
from bayesnn.networks import (
    Erf,
    NTKLinear,
    Residual,
    StandardLinear,
    convnet,
    draw_initial_params,
    mlp,
    resnet,
    with_prior,
)
from bayesnn.seeds import seeded_generator
from tests.reference.naive_ntk import naive_ntk


class _Transformer(nn.Module):
    """Embeds a sequence, one block of attention with layer norm, reads out its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = NTKLinear(3, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True)
        self.readout = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.readout(self.block(self.embed(x)).mean(1))
        return y


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3, 4, batch_first=True)
        self.readout = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.readout(self.cell(x)[0][:, -1])
        return y


class _Stubborn(torch.autograd.Function):
    """tanh without a rule for vmap or forward mode."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return g * (1 - y * y)


class _Own(nn.Module):
    """A layer and a raw parameter of the user's, and an operation that torch.func does not take."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 5), nn.Parameter(torch.randn(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return _Stubborn.apply(self.layer(x)) @ self.scale


def _flat(build: Callable[[], nn.Module]) -> tuple[Callable[[], nn.Module], tuple[int, ...]]:
    return build, (3,)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": _flat(lambda: mlp(in_features=3, out_features=1, width=6, depth=2, activation=Erf())),
    "outputs": _flat(
        lambda: mlp(in_features=3, out_features=4, width=6, depth=2, activation=nn.GELU())
    ),
    "standard": _flat(
        lambda: mlp(
            in_features=3, out_features=2, width=6, depth=1, activation=Erf(), linear=StandardLinear
        )
    ),
    "residual": _flat(
        lambda: resnet(in_features=3, out_features=2, width=5, depth=2, activation=nn.ReLU())
    ),
    "linear": _flat(lambda: nn.Sequential(nn.Linear(3, 4), Residual(nn.Tanh()), nn.Linear(4, 1))),
    "convolution": (
        lambda: convnet(in_channels=2, out_features=2, width=3, depth=2, activation=nn.ReLU()),
        (2, 4, 4),
    ),
    "transformer": (_Transformer, (5, 3)),
    "recurrent": (_Recurrent, (4, 3)),
    "own": _flat(_Own),
}


def _case(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    build, shape = NETWORKS[name]
    generator = seeded_generator(0)
    network = with_prior(build().double())
    params = draw_initial_params(network, generator=generator)
    network.load_state_dict(params, strict=False)
    x1, x2 = (torch.randn(n, *shape, dtype=torch.float64, generator=generator) for n in (4, 3))
    return network, x1, x2


@pytest.mark.parametrize("name", NETWORKS)
def test_it_equals_the_loop_over_points(name: str) -> None:
    """Dense by both ways, in blocks of any size, its diagonal, and as a linear map."""
    network, x1, x2 = _case(name)
    expected = naive_ntk(network, x1, x2)
    k = expected.shape[2]
    whole = empirical_ntk(network)
    shown = expected if k > 1 else expected[:, :, 0, 0]
    torch.testing.assert_close(whole(x1, x2), shown, rtol=1e-9, atol=1e-11)
    tiny = empirical_ntk(network, memory_budget=1)  # a point at a time
    torch.testing.assert_close(tiny(x1, x2), shown, rtol=1e-9, atol=1e-11)
    blocks: TangentBlocks = whole._at(x1)
    torch.testing.assert_close(blocks.by_rows(x1, x2), expected, rtol=1e-9, atol=1e-11)
    if blocks.has_forward_mode:
        for one in (blocks, replace(blocks, budget=1)):
            torch.testing.assert_close(one.by_forward_mode(x1, x2), expected, rtol=1e-9, atol=1e-11)
    own = naive_ntk(network, x1, x1)
    own = own if k > 1 else own[:, :, 0, 0]
    for kernel in (whole, tiny):
        torch.testing.assert_close(kernel(x1), own, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(
            kernel.diagonal(x1), torch.stack([own[i, i] for i in range(4)]), rtol=1e-9, atol=1e-11
        )
        operator = kernel.operator(x1, x2)
        v = torch.randn(operator.domain_shape, dtype=torch.float64, generator=seeded_generator(1))
        product = torch.einsum("abkl,bl->ak", expected, v.reshape(3, k))
        found = operator.matvec(v)
        assert found.shape == operator.range_shape
        torch.testing.assert_close(found.reshape(4, k), product, rtol=1e-9, atol=1e-11)
        u = torch.randn(operator.range_shape, dtype=torch.float64, generator=seeded_generator(2))
        torch.testing.assert_close((operator.T(u) * v).sum(), (u * found).sum())


def test_what_torch_func_does_not_take_goes_by_autograd() -> None:
    network, x, _ = _case("own")
    blocks = empirical_ntk(network)._at(x)
    assert not blocks.vectorised
    assert not blocks.has_forward_mode
    network, x, _ = _case("outputs")
    blocks = empirical_ntk(network)._at(x)
    assert blocks.vectorised
    assert blocks.has_forward_mode


@pytest.mark.parametrize("name", ["mlp", "outputs", "convolution", "transformer"])
def test_it_is_symmetric_and_positive_semi_definite(name: str) -> None:
    network, x1, x2 = _case(name)
    kernel = empirical_ntk(network)
    x = torch.cat((x1, x2))
    matrix = kernel(x)
    if matrix.ndim == 4:
        matrix = matrix.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    assert torch.equal(matrix, matrix.T)
    values = torch.linalg.eigvalsh(matrix)
    assert float(values[0]) > -1e-10 * float(values[-1])


@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear])
def test_it_tends_to_the_kernel_of_infinite_width(linear: type) -> None:
    """The mean over draws within its Monte-Carlo error and a bias of 1/width; the scatter falls."""
    generator = seeded_generator(5)
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    scatter = []
    for width in (8, 32, 128):
        network = mlp(
            in_features=3, out_features=1, width=width, depth=2, activation=Erf(), linear=linear
        ).double()
        exact = ntk(network)(x)
        draws = torch.stack([
            empirical_ntk(network, draw_initial_params(network, generator=generator))(x)
            for _ in range(12)
        ])  # fmt: skip
        error = draws.std(0) / 12**0.5
        assert bool(
            ((draws.mean(0) - exact).abs() < 5 * error + 2 * exact.diagonal().mean() / width).all()
        )
        scatter.append(float((draws.std(0) / exact.diagonal().mean()).mean()))
    # as 1/√width: half for each fourfold width
    assert 0.3 * scatter[0] < scatter[1] < 0.75 * scatter[0]
    assert 0.3 * scatter[1] < scatter[2] < 0.75 * scatter[1]


def test_both_parametrisations_have_the_same_kernel() -> None:
    """At the same functions: W_standard = weight_std/√fan_in · W_NTK."""
    ntk_net, x1, x2 = _case("mlp")
    standard = mlp(
        in_features=3, out_features=1, width=6, depth=2, activation=Erf(), linear=StandardLinear
    ).double()
    params = {}
    for name, value in ntk_net.named_parameters():
        scale = 1.5 / value.shape[1] ** 0.5 if name.endswith("weight") else 0.05
        params[name] = scale * value.detach()
    found = empirical_ntk(standard, params)(x1, x2)
    torch.testing.assert_close(found, empirical_ntk(ntk_net)(x1, x2))


def test_the_way_that_takes_less_is_taken() -> None:
    """Rows of J for convolutions and few outputs; forward mode for dense layers and many."""
    dense, x, _ = _case("outputs")
    blocks = empirical_ntk(dense)._at(x)
    cost = measure(blocks.tangent, x)
    weights = 3 * 6 + 6 * 6 + 6 * 4
    assert (cost.outputs, cost.parameters) == (4, weights + 16)
    assert cost.flops == 2 * weights
    assert blocks.takes_forward_mode(100, 100)
    single, x, _ = _case("mlp")
    assert not empirical_ntk(single)._at(x).takes_forward_mode(100, 100)
    images, x, _ = _case("convolution")
    assert not empirical_ntk(images)._at(x).takes_forward_mode(100, 100)


def test_blocks_fit_the_budget() -> None:
    network, x, _ = _case("outputs")
    blocks = empirical_ntk(network, memory_budget=100_000)._at(x)
    seen: list[int] = []
    tangent = blocks.tangent
    rows = type(tangent).rows

    def noted(self: object, points: Tensor) -> dict[str, Tensor]:
        found = rows(tangent, points)
        seen.append(sum(one.numel() * 8 for one in found.values()))
        return found

    many = x.repeat(10, 1)
    assert blocks.vectorised
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tangent), "rows", noted)
        blocks.by_rows(many, many)
    assert 10_000 < max(seen) <= 50_000
    assert len(seen) > 2


def test_it_is_a_kernel_for_a_gaussian_process(device: str) -> None:
    network, x1, x2 = _case("mlp")
    post = gp_posterior(
        empirical_ntk(network), x1.to(device), x1[:, 0].to(device), x2.to(device), noise_std=0.1
    )
    assert post.mean.device.type == device
    assert post.mean.dtype == torch.float64
    single = empirical_ntk(network)(x1.float().to(device))
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), empirical_ntk(network)(x1.to(device)), rtol=1e-4, atol=1e-5
    )


def test_what_does_not_fit_is_said() -> None:
    network, x, x2 = _case("mlp")
    with pytest.raises(ValueError, match=r"missing \['0.weight'\], unknown \['else'\]"):
        params = dict(network.named_parameters())
        params["else"] = params.pop("0.weight")
        empirical_ntk(network, params)
    with pytest.raises(ValueError, match=r"v: expected shape \(3,\)"):
        empirical_ntk(network).operator(x, x2).matvec(torch.ones(4))
    with pytest.raises(ValueError, match="x1: expected finite"):
        empirical_ntk(network)(x * float("nan"))
    with pytest.raises(ValueError, match="BatchNorm1d"):
        empirical_ntk(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))
