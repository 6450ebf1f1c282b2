"""NNGP and NTK of dense networks: references, limits of finite networks, derivatives, laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bayesnn.kernels import nngp, ntk
from bayesnn.networks import (
    Erf,
    FourierFeatures,
    NTKLinear,
    StandardLinear,
    draw_initial_params,
    mlp,
    prior_precision,
)
from bayesnn.seeds import seeded_generator
from tests.reference.erf_kernels import erf_mlp_kernels


def _points(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=seeded_generator(seed))


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("linear", [NTKLinear, StandardLinear])
def test_erf_networks_equal_the_entrywise_recursion(depth: int, linear: type, device: str) -> None:
    network = mlp(
        in_features=3, out_features=2, width=4, depth=depth, activation=Erf(), weight_std=1.3,
        bias_std=0.2, linear=linear,
    )  # fmt: skip
    x, z = _points(6, 3), _points(4, 3, seed=1)
    expected = erf_mlp_kernels(x.numpy(), z.numpy(), depth=depth, weight_std=1.3, bias_std=0.2)
    for kernel, reference in zip((nngp(network), ntk(network)), expected, strict=True):
        found = kernel(x.to(device), z.to(device))
        np.testing.assert_allclose(found.cpu().numpy(), reference, rtol=1e-10)
        single = kernel(x.float().to(device), z.float().to(device))
        np.testing.assert_allclose(single.cpu().numpy(), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [Erf(), nn.ReLU(), nn.GELU(), nn.SiLU()])
def test_finite_networks_have_the_kernels_on_average(activation: nn.Module) -> None:
    """E[f f'] over θ₀ is K up to 1/width; J Λ⁻¹ Jᵀ is Θ up to 1/√width, less after averaging."""
    network = mlp(
        in_features=2, out_features=1, width=256, depth=2, activation=activation, weight_std=1.4,
        bias_std=0.3,
    ).double()  # fmt: skip
    x = _points(3, 2)
    n_draws = 100
    outputs, tangents = [], []
    precision = prior_precision(network)
    for i in range(n_draws):
        params = draw_initial_params(network, generator=seeded_generator(1, i))
        rows = torch.func.jacrev(lambda p: torch.func.functional_call(network, p, (x,))[:, 0])(
            params
        )
        flat = torch.cat([(rows[k] / precision[k].sqrt()).flatten(1) for k in rows], dim=1)
        tangents.append((flat @ flat.T).detach())
        outputs.append(torch.func.functional_call(network, params, (x,))[:, 0].detach())
    values = torch.stack(outputs)
    expected = nngp(network)(x)
    diagonal = expected.diagonal()
    bound = 5 * ((torch.outer(diagonal, diagonal) + expected**2) / n_draws).sqrt()
    assert bool(((values.T @ values / n_draws - expected).abs() < bound).all())
    stack = torch.stack(tangents)
    error = (stack.mean(0) - ntk(network)(x)).abs()
    assert bool((error < 5 * stack.std(0) / n_draws**0.5 + 0.02 * ntk(network)(x).abs()).all())


def test_frozen_parameters_add_nothing_to_the_ntk() -> None:
    """With the read-out alone trained, Θ is K: the network is linear in what is trained."""
    network = mlp(in_features=3, out_features=1, width=4, depth=2, activation=Erf(), bias_std=0.4)
    for layer in list(network)[:-1]:
        layer.requires_grad_(requires_grad=False)
    x = _points(5, 3)
    torch.testing.assert_close(ntk(network)(x), nngp(network)(x))
    bias_only = NTKLinear(3, 1, bias_std=0.4)
    bias_only.weight.requires_grad_(requires_grad=False)
    torch.testing.assert_close(ntk(bias_only)(x), torch.full((5, 5), 0.16, dtype=torch.float64))


def test_derivatives_in_hyperparameters() -> None:
    network = mlp(in_features=2, out_features=1, width=4, depth=2, activation=nn.ReLU())
    x, z = _points(4, 2), _points(3, 2, seed=1)
    kernel = ntk(network)
    names = tuple(kernel.hyperparameters)
    assert set(names) == {f"{i}.{kind}_std" for i in (0, 2, 4) for kind in ("weight", "bias")}

    def total(*values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = kernel.with_hyperparameters(dict(zip(names, values, strict=True)))(
            x, z
        )
        return result

    given = [torch.tensor(0.7 + 0.1 * i, dtype=torch.float64, requires_grad=True) for i in range(6)]
    assert torch.autograd.gradcheck(total, given)
    with pytest.raises(ValueError, match="expected names among"):
        kernel.with_hyperparameters({"9.weight_std": 1.0})


def test_fourier_features_come_before_the_first_layer() -> None:
    features = FourierFeatures(2, 50, frequency_std=3.0, generator=seeded_generator(0)).double()
    network = nn.Sequential(features, mlp(
        in_features=100, out_features=1, width=4, depth=1, activation=Erf()
    ))  # fmt: skip
    x = _points(5, 2)
    torch.testing.assert_close(ntk(network)(x), ntk(network[1])(features(x)))


def test_a_module_may_be_used_twice_but_not_its_weights() -> None:
    layers = [NTKLinear(2, 3), NTKLinear(3, 3), NTKLinear(3, 1)]
    shared = nn.ReLU()
    once = nn.Sequential(layers[0], shared, layers[1], shared, layers[2])
    apart = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    x = _points(3, 2)
    assert torch.equal(ntk(once)(x), ntk(apart)(x))
    with pytest.raises(ValueError, match="shares its values"):
        ntk(nn.Sequential(layers[0], shared, layers[1], shared, layers[1]))


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ValueError, match=r"Dropout .* has no kernel rule"):
        nngp(nn.Sequential(NTKLinear(2, 1), nn.Dropout()))
    kernel = nngp(NTKLinear(2, 1))
    with pytest.raises(ValueError, match="x1: expected finite numbers"):
        kernel(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(ValueError, match="x2: expected points of shape"):
        kernel(torch.zeros(1, 2), torch.zeros(1, 3))
