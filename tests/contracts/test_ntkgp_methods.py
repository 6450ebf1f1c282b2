"""Laws of the NTKGP methods' directions and tangents, and of what each method pulls towards."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from bayesnn.networks import prior_mean, prior_precision, readout_names, with_prior
from bayesnn.seeds import seeded_generator
from ensembles import gauss_newton, ntkgp_fn, ntkgp_lin, ntkgp_param
from ensembles.evaluation import member_values
from ensembles.fit import fit_members
from ensembles.member_problem import draw_member, training_problem
from ensembles.methods.protocol import Method, Params
from tests.contracts.ensemble_cases import (
    LOSS,
    NOISE,
    SEED,
    each_method,
    erf_network,
    member_draws,
    sine_data,
)

EXACT = gauss_newton(tolerance=1e-14)


def test_ntkgp_shift_leaves_the_readout_out(device: str) -> None:
    network = erf_network(device)
    _, shift = member_draws(ntkgp_param(), network, range(2))
    for name, value in shift["direction"].items():
        assert bool((value == 0).all()) == (name in readout_names(network))


def test_ntkgp_lin_is_the_posterior_sample_of_its_own_kernel(device: str) -> None:
    """Each member is J_*θ₀ + Θ_{*X}(Θ + σ²I)⁻¹(y + σε − Jθ₀), with J at its own θ*."""
    network, (x, y), points = erf_network(device), sine_data(device), _points(device)
    method = ntkgp_lin()
    fitted = fit_members(
        network, x, y, method=method, trainer=EXACT, n_members=4, loss=LOSS, seed=SEED
    )
    assert all(fitted.converged)
    values = member_values(method, network, fitted.params, fitted.shift, points)
    for number in range(4):
        draw, epsilon = draw_member(method, network, y, seed=SEED, number=number)
        assert epsilon is not None
        at_points = _white_jacobian(network, draw.shift["tangent_at"], points)
        at_data = _white_jacobian(network, draw.shift["tangent_at"], x)
        white = torch.cat([value.flatten() for value in draw.start.values()])  # Λ = 1 here
        gram = at_data @ at_data.T + float(NOISE[0]) ** 2 * torch.eye(len(x)).to(x)
        residual = y[:, 0] + float(NOISE[0]) * epsilon[:, 0] - at_data @ white
        expected = at_points @ white
        expected = expected + at_points @ at_data.T @ torch.linalg.solve(gram, residual)
        torch.testing.assert_close(values[number, :, 0], expected, rtol=1e-6, atol=1e-6)


def test_ntkgp_lin_has_the_posterior_covariance_at_fixed_tangent(device: str) -> None:
    """With one θ* for all, m members have the posterior's mean and covariance.

    An entry's standard error is √((C_ii C_jj + C_ij²)/m), a mean's √(C_ii/m); five of them bound
    the differences: the members are exactly Gaussian here.
    """
    n_members, method = 1000, ntkgp_lin()
    network, (x, y), points = erf_network(device, width=8), sine_data(device), _points(device)
    problem = training_problem(
        network, x, y, method=method, numbers=range(n_members), loss=LOSS, seed=SEED
    )
    fixed = {k: v[:1].expand_as(v) for k, v in problem.shift["tangent_at"].items()}
    problem = replace(problem, shift={"tangent_at": fixed})
    trained = EXACT.train(problem, seed=SEED)
    values = member_values(method, network, trained.params, problem.shift, points)[..., 0]
    at = {name: value[0] for name, value in fixed.items()}
    at_points, at_data = _white_jacobian(network, at, points), _white_jacobian(network, at, x)
    gram = at_data @ at_data.T + float(NOISE[0]) ** 2 * torch.eye(len(x)).to(x)
    gain = torch.linalg.solve(gram, at_data @ at_points.T).T
    covariance = at_points @ at_points.T - gain @ at_data @ at_points.T
    diagonal = covariance.diagonal()
    bound = 5 * ((torch.outer(diagonal, diagonal) + covariance**2) / n_members).sqrt()
    assert bool(((torch.cov(values.T) - covariance).abs() < bound).all())
    standard_error = (diagonal / n_members).sqrt()
    assert bool(((values.mean(0) - gain @ y[:, 0]).abs() < 5 * standard_error).all())


def _points(device: str) -> Tensor:
    return torch.tensor([[3.0, -1.0], [0.0, 0.2], [-0.5, 2.0]], dtype=torch.float64).to(device)


def _white_jacobian(network: nn.Module, at: Params, x: Tensor) -> Tensor:
    rows = jacrev(lambda params: functional_call(network, params, (x,))[:, 0])(at)
    precision = prior_precision(network)
    each = [(j / precision[key].sqrt()).flatten(1) for key, j in rows.items()]
    return torch.cat(each, dim=1)


@each_method
def test_the_function_space_methods_pull_towards_the_priors_mean(
    method: Method, device: str
) -> None:
    """It is 0, but for a parameter that starts at a constant and is trained."""
    network = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1))
    network = with_prior(network, precision={"1.weight": 50.0}).to(device)
    start, _ = member_draws(method, network, range(2))
    center = method.center(network, start)
    if method.name == "deep_ensemble":
        assert center is None
    elif method.name in {"randomised_prior", "ntkgp_fn"}:
        assert center is not None
        for name, value in center.items():
            assert value.shape == start[name].shape
            assert bool((value == (1.0 if name == "1.weight" else 0.0)).all())
    else:
        assert center is start
    assert bool((start["1.weight"] != 1).all())
    assert float((start["1.weight"] - 1).abs().max()) < 5 / math.sqrt(50)


@pytest.mark.parametrize("method", [ntkgp_param(), ntkgp_fn()], ids=lambda m: m.name)
def test_directions_are_distances_from_the_priors_mean(method: Method, device: str) -> None:
    """θ* is a centred draw: a scale that starts at 1 must not add J·1 to every member."""
    network = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    network = with_prior(network, precision={"1.weight": 1e8}).to(device)
    _, shift = member_draws(method, network, range(2))
    assert float(shift["direction"]["1.weight"].abs().max()) < 1e-3
    assert float(shift["initial"]["1.weight"].min()) > 0.999


def test_ntkgp_lin_takes_its_parameters_from_the_priors_mean(device: str) -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 1))
    network = with_prior(network, precision={"1.weight": 4.0}).to(device)
    method = ntkgp_lin()
    draw = method.draw(network, generator=seeded_generator(0))
    mean = prior_mean(network)
    x = torch.ones(3, 2, device=device)
    assert not method.value(network, mean, draw.shift, x).any()
    doubled = {name: 2 * value - mean[name] for name, value in draw.start.items()}
    torch.testing.assert_close(
        method.value(network, doubled, draw.shift, x),
        2 * method.value(network, draw.start, draw.shift, x),
    )
