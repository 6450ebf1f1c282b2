"""Gauss–Newton against closed forms of linear models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from bayesnn.networks import NTKLinear
from bayesnn.seeds import seeded_generator
from ensembles import anchored, deep_ensemble, gauss_newton, ntkgp_lin, ntkgp_param
from ensembles.linearisation import linearise
from tests.ensembles.trainers.gauss_newton_cases import (
    F64,
    N,
    member_of,
    small_network,
    small_problem,
    wave_data,
)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_reaches_weighted_kernel_regression(weighted: bool, device: str) -> None:
    """Outputs that share nothing have posterior means of their own, each datum of noise σ²/w."""
    x, y = wave_data(2, device=device, outputs=2)
    std = (0.3, 2.0)
    network = NTKLinear(2, 2, bias_std=0.5).to(device, F64)
    weight = torch.rand(N, dtype=F64, generator=seeded_generator(5)).add(0.1).to(device)
    problem = small_problem(
        network, x, y, anchored(), std=std, row_weight=weight if weighted else None
    )
    trained = gauss_newton(tolerance=1e-14).train(problem, seed=0)
    assert bool(trained.converged.all())
    points = torch.randn(5, 2, dtype=F64, generator=seeded_generator(6)).to(device)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 1.5**2 / 2 * a @ b.T + 0.25

    for i in range(3):
        start = member_of(problem.start, i)
        at_data, at_points = (functional_call(network, start, (z,)) for z in (x, points))
        found = functional_call(network, member_of(trained.params, i), (points,))
        for j in range(2):
            noise = std[j] ** 2 / (weight if weighted else torch.ones_like(weight))
            gram = kernel(x, x) + torch.diag(noise)
            pull = torch.linalg.solve(gram, problem.targets[i, :, j] - at_data[:, j])
            expected = at_points[:, j] + kernel(points, x) @ pull
            torch.testing.assert_close(found[:, j], expected, rtol=1e-6, atol=1e-6)


def test_a_deep_ensemble_stops_at_the_flows_time_of_the_noise(device: str) -> None:
    """A linear model's residual lies between the flow's and that of one implicit Euler step.

    In an eigenvector of K = JΛ⁻¹Jᵀ with eigenvalue κ the flow leaves exp(−κt) of the residual at
    time t. Implicit Euler steps of lengths h that add up to t leave Π 1/(1 + κh), which is at least
    exp(−κt), and at most 1/(1 + κt); here t = 1/σ². It is below 1/(1 + κt) wherever κ > 0 if there
    are two steps or more.
    """
    x, y = wave_data(2, device=device)
    network = NTKLinear(2, 1, bias_std=1.0).to(device, F64)
    sigma = 0.8
    problem = small_problem(network, x, y, deep_ensemble(), std=(sigma,))
    trained = gauss_newton().train(problem, seed=0)
    assert bool(trained.converged.all())
    assert trained.n_steps > 1
    kappa, vectors = torch.linalg.eigh(1.5**2 / 2 * x @ x.T + 1.0)
    for i in range(3):
        before, after = (
            vectors.T @ (y - functional_call(network, member_of(params, i), (x,)))[:, 0]
            for params in (problem.start, trained.params)
        )
        left = (after / before)[kappa > 1e-8]
        rates = kappa[kappa > 1e-8] / sigma**2
        assert len(left) == 3
        assert bool((left > torch.exp(-rates)).all())
        assert bool((left < 1 / (1 + rates)).all())


def test_ntkgp_lin_takes_one_solve(device: str) -> None:
    """J_*θ₀ + Θ_{*X}(Θ + σ²I)⁻¹(y + σε − Jθ₀), with J at the member's own θ*."""
    x, y = wave_data(2, device=device)
    network = small_network(device)
    problem = small_problem(network, x, y, ntkgp_lin())
    trained = gauss_newton().train(problem, seed=0)
    assert trained.n_steps == 1
    assert bool(trained.converged.all())
    points = torch.randn(5, 2, dtype=F64, generator=seeded_generator(6)).to(device)
    both = linearise(network, torch.cat((x, points))).at(problem.shift["tangent_at"])
    theta = both.kernel()
    start, end = (both.times(params)[..., 0] for params in (problem.start, trained.params))
    for i in range(3):
        gram = theta[i, :N, :N] + 0.01 * torch.eye(N, dtype=F64, device=device)
        pull = torch.linalg.solve(gram, problem.targets[i, :, 0] - start[i, :N])
        expected = start[i, N:] + theta[i, N:, :N] @ pull
        torch.testing.assert_close(end[i, N:], expected, rtol=1e-6, atol=1e-6)


def test_other_losses_are_refused() -> None:
    x, y = wave_data(2, device="cpu")
    problem = small_problem(small_network("cpu"), x, y, ntkgp_param())

    class Other:
        pull = 1.0

        def __call__(self, values: Tensor, targets: Tensor) -> Tensor:
            return (values - targets).abs().sum(-1)

    with pytest.raises(ValueError, match=r"squares only, and the loss is Other; use adam"):
        gauss_newton().train(replace(problem, loss=Other()), seed=0)
