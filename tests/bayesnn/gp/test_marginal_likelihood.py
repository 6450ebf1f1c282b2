"""Gradients of the marginal likelihood over random networks, and the search for its maximum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bayesnn.gp import (
    by_kind,
    fit_gp,
    gp_posterior,
    marginal_likelihood,
    maximise_marginal_likelihood,
    one_by_one,
)
from bayesnn.kernels import NetworkKernel, nngp, ntk
from bayesnn.networks import Erf, convnet, mlp, resnet
from bayesnn.seeds import seeded_generator

ACTIVATIONS: list[Callable[[], nn.Module]] = [Erf, nn.ReLU, nn.GELU, nn.Tanh]


def _network(kind: int, activation: nn.Module, depth: int, bias_std: float) -> nn.Module:
    if kind == 2:
        return convnet(
            in_channels=1, out_features=1, width=4, depth=1, activation=activation,
            bias_std=bias_std,
        )  # fmt: skip
    build = (mlp, resnet)[kind]
    return build(
        in_features=2, out_features=1, width=4, depth=depth, activation=activation,
        bias_std=bias_std,
    )  # fmt: skip


def _data(kind: int, n: int, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = seeded_generator(seed)
    shape = (1, 3, 3) if kind == 2 else (2,)
    x = torch.randn(n, *shape, dtype=torch.float64, generator=generator)
    return x, torch.randn(n, outputs, dtype=torch.float64, generator=generator)


@settings(max_examples=6)
@given(
    kind=st.sampled_from([0, 1, 0, 1, 2]),
    kernel=st.sampled_from([nngp, ntk]),
    activation=st.sampled_from(ACTIVATIONS),
    depth=st.integers(1, 2),
    bias_std=st.sampled_from([0.0, 0.3]),
    noise=st.floats(0.1, 1.0),
    n=st.integers(2, 7),
    outputs=st.integers(1, 2),
    groups=st.sampled_from([by_kind, one_by_one]),
    seed=st.integers(0, 100),
)
def test_the_gradient_is_that_of_finite_differences(
    kind: int, kernel: Callable[[nn.Module], NetworkKernel], activation: Callable[[], nn.Module],
    depth: int, bias_std: float, noise: float, n: int, outputs: int,
    groups: marginal_likelihood.Groups, seed: int,
) -> None:  # fmt: skip
    """By tiles, and by autograd through `fit_gp`."""
    k = kernel(_network(kind, activation(), depth, bias_std))
    x, y = _data(kind, n, outputs, seed)
    start = {name: float(value) for name, value in k.hyperparameters.items()}
    names = groups([name for name, value in start.items() if value > 0])
    assert len(names) == (
        1 + (bias_std > 0) if groups is by_kind else sum(v > 0 for v in start.values())
    )
    problem = marginal_likelihood._Problem(
        kernel=k, data=marginal_likelihood.regression_data(x, y), start=start, groups=names
    )
    u = np.append(np.linspace(-0.2, 0.2, len(names)), np.log(noise))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marginal_likelihood, "TILE", 4)  # several tiles
        value, gradient = problem.value_and_gradient(u)
    step = 1e-5
    for i in range(len(u)):
        there, back = u.copy(), u.copy()
        there[i] += step
        back[i] -= step
        slope = (problem.value_and_gradient(there)[0] - problem.value_and_gradient(back)[0]) / (
            2 * step
        )
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-6)
    leaf = torch.tensor(u, requires_grad=True)
    scales, sigma = problem.scales(leaf)
    process = fit_gp(k.with_hyperparameters(scales), x, y, noise_std=sigma)
    whole = process.log_marginal_likelihood()
    assert float(whole.detach()) == pytest.approx(value, rel=1e-10)
    by_autograd = torch.autograd.grad(whole, leaf)[0].numpy()
    np.testing.assert_allclose(gradient, by_autograd, rtol=1e-7, atol=1e-8)


def test_the_maximum_is_one_and_is_reported() -> None:
    """No step away does better; history rises; the noise is found; new data are better seen."""
    network = mlp(in_features=1, out_features=1, width=4, depth=1, activation=Erf(), bias_std=0.3)
    generator = seeded_generator(1)
    x = torch.rand(60, 1, dtype=torch.float64, generator=generator) * 4 - 2
    truth = 3 * (2 * x + 1).sin().squeeze(1)
    y = truth + 0.2 * torch.randn(60, dtype=torch.float64, generator=generator)
    found = maximise_marginal_likelihood(ntk(network), x, y, noise_std=1.0)
    assert found.converged
    assert not found.at_bounds
    assert found.noise_std == pytest.approx(0.2, rel=0.3)
    assert all(b >= a for a, b in zip(found.history, found.history[1:], strict=False))
    start = fit_gp(ntk(network), x, y, noise_std=1.0)
    assert found.history[0] == pytest.approx(float(start.log_marginal_likelihood()))
    best = fit_gp(found.kernel, x, y, noise_std=found.noise_std).log_marginal_likelihood()
    assert found.log_marginal_likelihood == pytest.approx(float(best), rel=1e-9)
    scales = {name: float(value) for name, value in found.kernel.hyperparameters.items()}
    assert scales["0.weight_std"] == pytest.approx(scales["2.weight_std"])  # one kind, one factor
    for kind in ("weight_std", "bias_std"):
        for factor in (0.9, 1.1):
            moved = {n: v * factor for n, v in scales.items() if n.endswith(kind)}
            other = fit_gp(
                found.kernel.with_hyperparameters(moved), x, y, noise_std=found.noise_std
            )
            assert float(other.log_marginal_likelihood()) < float(best)
    new = torch.linspace(-1.8, 1.8, 30, dtype=torch.float64).unsqueeze(1)
    before = gp_posterior(ntk(network), x, y, new, noise_std=1.0)
    after = gp_posterior(found.kernel, x, y, new, noise_std=found.noise_std)
    observed = 3 * (2 * new + 1).sin().squeeze(1)
    assert float(after.log_prob(observed).mean()) > float(before.log_prob(observed).mean())


def test_what_the_data_do_not_hold_ends_at_a_bound() -> None:
    """Targets without noise."""
    network = mlp(in_features=1, out_features=1, width=4, depth=1, activation=Erf(), bias_std=0.0)
    x = torch.linspace(-1, 1, 20, dtype=torch.float64).unsqueeze(1)
    found = maximise_marginal_likelihood(nngp(network), x, x, noise_std=1e-3)
    assert ("noise_std",) in found.at_bounds
    assert found.kernel.hyperparameters.get("0.bias_std", 0.0) == 0.0
    few = maximise_marginal_likelihood(nngp(network), x, x, noise_std=0.5, max_iterations=1)
    assert not few.converged
    assert len(few.history) == 2
    with pytest.raises(ValueError, match="noise_std"):
        maximise_marginal_likelihood(nngp(network), x, x, noise_std=-1.0)
