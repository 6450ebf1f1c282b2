"""The prior of the infinitely wide network: its covariance, its draws, and its scales."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import ct
from bayesnn.kernels import nngp
from bayesnn.networks import FourierFeatures
from ct.inr.coordinates import pixel_coordinates
from ct.posterior.infinite_width_features import FeatureDraws, PowerSeries, power_series
from ct.posterior.infinite_width_network import InfiniteNetwork
from ct.posterior.infinite_width_prior import network_grid_kernel
from ct.problem import Problem

SHAPE = (5, 6)
GRID = ct.ImageGrid(SHAPE)
B = 4 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0)).double()
RELU = InfiniteNetwork(activation=nn.functional.relu)
ERF = InfiniteNetwork(kernel=nngp, depth=2, activation=torch.erf)


def _matrix(network: InfiniteNetwork, frequencies: torch.Tensor | None) -> torch.Tensor:
    n = math.prod(SHAPE)
    kernel = network_grid_kernel(
        network, GRID, frequencies=frequencies, frequency_std=4.0, like=torch.zeros(()).double()
    )
    return kernel.times(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1)


def test_wide_networks_that_are_sampled_have_the_covariance():
    features = FourierFeatures(2, len(B), frequency_std=1.0).double()
    features.frequencies = B
    points = features(pixel_coordinates(SHAPE).reshape(-1, 2))
    generator = torch.Generator().manual_seed(1)
    outputs = []
    for _ in range(1500):
        hidden = points
        for _ in range(2):
            weight = torch.randn(hidden.shape[1], 128, generator=generator).double()
            bias = 0.05 * torch.randn(128, generator=generator).double()
            hidden = torch.erf(1.5 * hidden @ weight / math.sqrt(hidden.shape[1]) + bias)
        readout = 1.5 * torch.randn(128, generator=generator).double() / math.sqrt(128)
        outputs.append(hidden @ readout + 0.05 * torch.randn((), generator=generator))
    found = torch.stack(outputs).T.cov()
    expected = ERF.spread**2 * _matrix(ERF, B) + ERF.constant
    assert float((found - expected).norm() / expected.norm()) < 0.15


@pytest.mark.parametrize("frequencies", [None, B], ids=["limit", "finite"])
def test_draws_of_features_have_the_covariance(frequencies):
    series = power_series(ERF)
    assert series.error < 3e-4
    assert series.nugget < 1e-3
    draws = FeatureDraws(
        series=series, frequencies=frequencies, frequency_std=4.0, shape=SHAPE,
        like=torch.zeros(()).double(),
    ).draw(0, range(600)).flatten(1)  # fmt: skip
    root = torch.linalg.cholesky(_matrix(ERF, frequencies) + 1e-3 * torch.eye(math.prod(SHAPE)))
    white = torch.linalg.solve_triangular(root, draws.T, upper=False)
    assert abs(float(white.var(1).mean()) - 1) < 0.05
    found = draws.T.cov()
    error = float((found - _matrix(ERF, frequencies)).norm() / found.norm())
    assert error < 0.25


def test_draws_by_embedding_have_the_covariance():
    network = InfiniteNetwork(depth=1, activation=nn.functional.relu)
    kernel = network_grid_kernel(
        network, GRID, frequencies=None, frequency_std=4.0, like=torch.zeros(()).double()
    )
    assert kernel.embedded
    found = kernel.draw(0, range(3000)).flatten(1).T.cov()
    expected = _matrix(network, None)
    assert float((found - expected).norm() / expected.norm()) < 0.1


def _drawn_scan(seed: int, *, prior_std: float, frequency_std: float) -> Problem:
    """A scan of an image that the prior drew, on a constant."""
    grid = ct.ImageGrid((16, 16), pixel_size=0.5)
    scan = ct.ParallelBeam([k * math.pi / 24 for k in range(24)], 25, 0.5)
    kernel = network_grid_kernel(
        RELU, grid, frequencies=None, frequency_std=frequency_std,
        like=torch.zeros(()).double(),
    )  # fmt: skip
    operator = ct.projector(grid, scan)
    clean = operator(3 + prior_std * kernel.draw(seed, range(1))[0])
    noise = torch.full_like(clean, 0.1)
    draw = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).double()
    return Problem(
        sinogram=clean + noise * draw, noise_std=noise, projector=operator, grid=grid, scan=scan
    )


def _dense_log_likelihood(problem: Problem, prior) -> float:
    """Of the rays, with an unknown level, by dense algebra."""
    n = math.prod(problem.grid.shape)
    pixels = torch.eye(n, dtype=torch.float64).reshape(n, *problem.grid.shape)
    A = problem.projector(pixels).flatten(1).T
    K = prior.scales.prior_std**2 * prior.kernel.times(pixels).flatten(1)
    u = A.sum(1)
    covariance = A @ K @ A.T + problem.noise_std.flatten().square().diag() + 1e4 * u[:, None] * u
    law = torch.distributions.MultivariateNormal(torch.zeros(len(A)).double(), covariance)
    return float(law.log_prob(problem.sinogram.flatten()))


def test_the_spectrum_chooses_scales_near_the_dense_likelihoods():
    lost, length, spread = [], [], []
    for seed in range(4):
        problem = _drawn_scan(seed, prior_std=0.5, frequency_std=6.0)
        method = ct.infinite_width(kernel=nngp, activation=nn.functional.relu)
        prior = method.prior(problem)
        true = dataclasses.replace(
            method, frequency_std=6.0, amplitude=0.5 / prior.network.spread
        ).prior(problem)
        gap = _dense_log_likelihood(problem, true) - _dense_log_likelihood(problem, prior)
        lost.append(gap)
        length.append(prior.scales.frequency_std / 6.0)
        spread.append(prior.scales.prior_std / 0.5)
    # measured: 10 nats of 600 rays below the truth, lengths within 12 %, spreads 15 % too small, as
    # the level takes some of so small an image's power
    assert sum(lost) / len(lost) < 20
    assert 0.75 < sum(length) / 4 < 1.3
    assert 0.7 < sum(spread) / 4 < 1.2


def test_the_noise_factor_is_found():
    problem = _drawn_scan(0, prior_std=0.5, frequency_std=3.0)
    half = dataclasses.replace(problem, noise_std=problem.noise_std / 2)
    method = ct.infinite_width(kernel=nngp, activation=nn.functional.relu, fit_noise=True)
    found, of_half = (method.prior(one).scales.noise_factor for one in (problem, half))
    assert math.isclose(of_half, 2 * found, rel_tol=1e-2)
    assert 0.8 < found < 1.7  # so coarse a grid's edges look like noise


def test_powers_of_one_frequency_and_a_nugget_are_drawn_as_they_are():
    # of a single b, ρ² = cos²(b·Δ): half of it a constant, half of twice the frequency
    b = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    series = PowerSeries(powers=(2,), weights=torch.tensor([0.75]).double(), nugget=0.25, error=0.0)
    draws = FeatureDraws(
        series=series, frequencies=b, frequency_std=2.0, shape=(1, 6), like=b
    ).draw(0, range(300))[:, 0]  # fmt: skip
    x = pixel_coordinates((1, 6))[0, :, 0]
    expected = 0.75 * (2 * (x - x[:, None])).cos().square() + 0.25 * torch.eye(6)
    assert float((draws.T @ draws / 300 - expected).abs().max()) < 0.45
