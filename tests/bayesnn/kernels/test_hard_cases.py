"""Duplicates, points 1e-8 apart, zero inputs and depth 1,000: finite, right, differentiable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesnn.kernels import NetworkKernel, nngp, ntk
from bayesnn.networks import Cosine, Erf, Sine, mlp
from bayesnn.seeds import seeded_generator
from tests.reference import exact_kernels
from tests.reference.exact_kernels import exact_mlp_kernels

EXACT = {
    "relu": (nn.ReLU(), exact_kernels.relu_moments),
    "erf": (Erf(), exact_kernels.erf_moments),
    "sine": (Sine(), exact_kernels.sine_moments),
}
pytestmark = pytest.mark.usefixtures("as_users_run")  # shapes checked 1,000 layers deep take long
ALL = [Erf(), nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), Sine(), Cosine()]


def _hard_points() -> Tensor:
    """Return points with a duplicate, a neighbour 1e-8 away, an opposite, zero and a tiny one."""
    x = torch.randn(3, 3, dtype=torch.float64, generator=seeded_generator(0))
    zero = torch.zeros(1, 3, dtype=torch.float64)
    return torch.cat((x, x[:1], x[:1] + 1e-8, -x[:1], zero, zero, 1e-8 * x[:1]))


def _network(activation: nn.Module, depth: int, *, bias_std: float = 0.25) -> nn.Module:
    return mlp(
        in_features=3, out_features=1, width=1, depth=depth, activation=activation,
        weight_std=2**0.5, bias_std=bias_std,
    )  # fmt: skip


def _largest_errors(name: str, depth: int, bias_std: float, x: Tensor) -> tuple[float, float]:
    """Return the largest error of K and of Θ, each relative to both points' own K or Θ."""
    activation, moments = EXACT[name]
    network = _network(activation, depth, bias_std=bias_std)
    exact = torch.zeros(2, len(x), len(x), dtype=torch.float64)
    for i, one in enumerate(x.tolist()):
        for j, other in enumerate(x.tolist()[: i + 1]):
            pair = exact_mlp_kernels(
                moments, one, other, depth=depth, weight_variance=(2**0.5) ** 2,
                bias_variance=bias_std**2,
            )  # fmt: skip
            exact[:, i, j] = exact[:, j, i] = torch.tensor(
                [float(value) for value in pair], dtype=torch.float64
            )
    errors = []
    for kernel, expected in zip((nngp(network), ntk(network)), exact, strict=True):
        found = kernel(x)
        size = expected.diagonal().sqrt()
        size = size[:, None] * size
        assert bool((found[size == 0] == 0).all())
        errors.append(float(((found - expected).abs() / size.clamp(min=1e-30)).max()))
    return errors[0], errors[1]


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("bias_std", [0.25, 0.0])
def test_kernels_equal_forty_digits(name: str, depth: int, bias_std: float) -> None:
    """The NTK of a kink sees the rounding of angles, √ε."""
    nngp_error, ntk_error = _largest_errors(name, depth, bias_std, _hard_points())
    assert nngp_error < 1e-10
    assert ntk_error < 1e-6


@pytest.mark.parametrize(("name", "bias_std"), [("relu", 0.0), ("erf", 0.25)])
def test_a_thousand_layers_equal_forty_digits(name: str, bias_std: float) -> None:
    """Angles are rounded in every layer: 1,000 √ε = 1.5e-5."""
    nngp_error, ntk_error = _largest_errors(name, 1000, bias_std, _hard_points()[[0, 4]])
    assert nngp_error < 1e-10
    assert ntk_error < 1e-5


@pytest.mark.parametrize("activation", ALL, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_matrices_are_symmetric_and_positive(
    activation: nn.Module, dtype: torch.dtype, device: str
) -> None:
    x = _hard_points().to(device, dtype)
    for depth in (1, 30):
        for kernel in (nngp(_network(activation, depth)), ntk(_network(activation, depth))):
            matrix = kernel(x)
            assert bool(matrix.isfinite().all())
            assert torch.equal(matrix, matrix.T)
            torch.testing.assert_close(matrix[0], matrix[3])
            least = torch.linalg.eigvalsh(matrix.double())[0]
            assert float(least) > -100 * torch.finfo(dtype).eps * float(matrix.diagonal().max())


@pytest.mark.parametrize("activation", ALL, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("of", [nngp, ntk])
@pytest.mark.parametrize(("depth", "bias_std"), [(1, 0.25), (3, 0.0), (50, 0.25)])
def test_derivatives_are_finite(
    activation: nn.Module, of: Callable[[nn.Module], NetworkKernel], depth: int, bias_std: float
) -> None:
    """With respect to the prior scales."""
    kernel = of(_network(activation, depth, bias_std=bias_std))
    scales = {
        name: torch.tensor(float(value), dtype=torch.float64, requires_grad=True)
        for name, value in kernel.hyperparameters.items()
    }
    total = kernel.with_hyperparameters(scales)(_hard_points()).sum()
    for each in torch.autograd.grad(total, list(scales.values())):
        assert bool(each.isfinite().all())


@pytest.mark.parametrize("of", [nngp, ntk])
def test_derivatives_of_the_relu_are_a_homogeneous_functions(
    of: Callable[[nn.Module], NetworkKernel],
) -> None:
    """Without biases K and Θ are proportional to each layer's σ_w², at hard points too."""
    kernel = of(_network(nn.ReLU(), 3, bias_std=0.0))
    names = [name for name in kernel.hyperparameters if name.endswith("weight_std")]
    values = torch.full((len(names),), 1.3, dtype=torch.float64)

    def matrix(scales: Tensor) -> Tensor:
        given = dict(zip(names, scales, strict=True))
        return kernel.with_hyperparameters(given)(_hard_points())

    slopes = torch.autograd.functional.jacobian(matrix, values)
    expected = 2 / 1.3 * matrix(values)
    for k in range(len(names)):
        torch.testing.assert_close(slopes[..., k], expected, rtol=1e-6, atol=1e-8)
