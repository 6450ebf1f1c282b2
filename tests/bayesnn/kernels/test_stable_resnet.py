"""Stable ResNet: variances and correlations at any depth, where the standard one degenerates.

Laws of Hayou et al., 2021, arXiv 2010.12859, for ReLU, σ_w² = 2 and no bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayesnn.kernels import nngp, ntk
from bayesnn.networks import (
    Residual,
    decreasing_scaling,
    resnet,
    standard_scaling,
    uniform_scaling,
)
from bayesnn.seeds import seeded_generator
from tests.reference.resnet_kernels import residual_relu_kernels

Scaling = Callable[[int, int], float]
pytestmark = pytest.mark.usefixtures("as_users_run")  # shapes checked 400 layers deep take long
SCALINGS: list[Scaling] = [uniform_scaling, decreasing_scaling, standard_scaling]


def _blocks(depth: int, scaling: Scaling, *, bias_std: float = 0.0, d: int = 2) -> nn.Module:
    """Return the network without its last activation and read-out."""
    return resnet(
        in_features=d, out_features=1, width=1, depth=depth, activation=nn.ReLU(),
        weight_std=math.sqrt(2), bias_std=bias_std, scaling=scaling,
    )[:-2]  # fmt: skip


def _pair(correlation: float) -> Tensor:
    """Return two points whose first layer's units have variance 1 and this correlation."""
    return torch.tensor(
        [[1.0, 0.0], [correlation, math.sqrt(1 - correlation**2)]], dtype=torch.float64
    )


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("depth", [1, 7])
def test_kernels_equal_the_recursion(scaling: Scaling, depth: int) -> None:
    network = _blocks(depth, scaling, bias_std=0.3)
    x, z = 1.3 * _pair(0.4), _pair(-0.7)[1:]
    scales = [block.scale for block in network if isinstance(block, Residual)]
    assert scales == [scaling(block, depth) for block in range(1, depth + 1)]
    for i in range(2):
        first = tuple(
            float(2 * a @ b / 2 + 0.09) for a, b in ((x[i],) * 2, (x[i], z[0]), (z[0],) * 2)
        )
        variances, theta = residual_relu_kernels(
            first,
            scales,
            weight_std=math.sqrt(2),
            bias_std=0.3,  # type: ignore[arg-type]
        )
        assert float(nngp(network)(x, z)[i, 0]) == pytest.approx(variances[1], rel=1e-12)
        assert float(nngp(network).diagonal(x)[i]) == pytest.approx(variances[0], rel=1e-12)
        assert float(ntk(network)(x, z)[i, 0]) == pytest.approx(theta, rel=1e-12)


def _after(depth: int, scaling: Scaling, correlation: float) -> tuple[float, float]:
    """Return the variance and the correlation after so many blocks."""
    matrix = nngp(_blocks(depth, scaling))(_pair(correlation))
    return float(matrix[0, 0]), float(matrix[0, 1] / matrix[0, 0])


@pytest.mark.parametrize("depth", [1, 10, 100])
def test_variances(depth: int) -> None:
    assert _after(depth, standard_scaling, 0.3)[0] == pytest.approx(2.0**depth, rel=1e-12)
    assert _after(depth, uniform_scaling, 0.3)[0] == pytest.approx((1 + 1 / depth) ** depth)
    squares = [1 / (block * math.log(block + 1) ** 2) for block in range(1, depth + 1)]
    expected = math.prod(1 + square for square in squares)
    assert _after(depth, decreasing_scaling, 0.3)[0] == pytest.approx(expected)
    if depth == 100:
        assert _after(depth, decreasing_scaling, 0.3)[0] == pytest.approx(8.37, abs=0.005)
        assert _after(depth, uniform_scaling, 0.3)[0] == pytest.approx(math.e, rel=0.006)


def test_the_standard_networks_correlations_go_to_one() -> None:
    """As 1 − 18π²/l²: √(18π²/(1 − correlation)) grows by 1 a block, less something like 1/l."""
    small, large = (
        math.sqrt(18 * math.pi**2 / (1 - _after(depth, standard_scaling, 0.3)[1]))
        for depth in (200, 400)
    )
    assert (large - small) / 200 == pytest.approx(1, abs=0.03)
    assert large / 400 == pytest.approx(1, abs=0.1)


def test_the_stable_networks_correlations_have_a_limit() -> None:
    for depth in (50, 200):
        found = _after(depth, uniform_scaling, 0.3)[1]
        assert (found - 0.45169) * depth == pytest.approx(-0.10, abs=0.02)


def _regression_error(depth: int, scaling: Scaling) -> float:
    """Return the root mean square error on the unit sphere of R^10, of targets of variance 1."""
    generator = seeded_generator(3)
    points = torch.randn(160, 10, dtype=torch.float64, generator=generator)
    points = points / points.norm(dim=1, keepdim=True)
    directions = torch.randn(10, 2, dtype=torch.float64, generator=generator)
    truth = (points @ directions).tanh().sum(1)
    truth = (truth - truth.mean()) / truth.std()
    y = truth[:120] + 0.1 * torch.randn(120, dtype=torch.float64, generator=generator)
    matrix = nngp(_blocks(depth, scaling, d=10))(points)
    matrix = matrix / matrix[0, 0]
    noisy = matrix[:120, :120] + 0.01 * torch.eye(120, dtype=torch.float64)
    mean = matrix[120:, :120] @ torch.linalg.solve(noisy, y)
    return float((mean - truth[120:]).square().mean().sqrt())


@pytest.mark.parametrize("depth", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_regression_with_many_blocks(depth: int) -> None:
    """The standard network's prior is a constant there; the stable one learns as at depth 3."""
    shallow = _regression_error(3, uniform_scaling)
    assert shallow < 0.4
    assert _regression_error(3, standard_scaling) < 0.4
    assert _regression_error(depth, uniform_scaling) < 1.1 * shallow
    assert _regression_error(depth, standard_scaling) > (0.95 if depth == 1000 else 0.8)
