"""Posterior functions against the exact posterior, within Monte-Carlo bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from bayesnn.gp import (
    GaussianProcess,
    IterativeGaussianProcess,
    JointDraws,
    covariance_error,
    finite_nngp_prior,
    finite_ntk_prior,
    fit_gp,
    fit_gp_iterative,
    gp_posterior,
    pathwise_samples,
)
from bayesnn.kernels import nngp, ntk
from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator

NETWORK = mlp(
    in_features=2, out_features=1, width=256, depth=2, activation=Erf(), bias_std=0.3,
    generator=seeded_generator(0),
).double()  # fmt: skip
NTK = ntk(NETWORK)
SAMPLES = 4000
FITS: list[Callable[..., GaussianProcess | IterativeGaussianProcess]] = [
    fit_gp, partial(fit_gp_iterative, tolerance=1e-8),
]  # fmt: skip


def _data(device: str = "cpu", outputs: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded_generator(1)
    x, points = (torch.randn(n, 2, dtype=torch.float64, generator=generator) for n in (12, 5))
    y = torch.randn(12, *([outputs] if outputs else []), dtype=torch.float64, generator=generator)
    points = torch.cat((1.5 * points[:3], x[:2] + 0.1))  # far from the data, and at them
    return x.to(device), y.to(device), points.to(device)


def _within_bounds(values: Tensor, mean: Tensor, covariance: Tensor, errors: float = 5.0) -> None:
    """Means and covariances of samples [s, m], each entry within its standard errors."""
    n, std = len(values), covariance.diagonal().sqrt()
    off = (values.mean(0) - mean) / (std / n**0.5)
    assert float(off.abs().max()) < errors
    centred = values - mean
    found = centred.mT @ centred / n
    error = ((covariance**2 + std**2 * std[:, None] ** 2) / n).sqrt()
    assert float(((found - covariance) / error).abs().max()) < errors


@pytest.mark.parametrize("fit", FITS)
def test_samples_have_the_exact_mean_and_covariance(
    fit: Callable[..., GaussianProcess | IterativeGaussianProcess], device: str
) -> None:
    """In one call and in several: the values of different calls are joint."""
    x, y, points = _data(device)
    exact = gp_posterior(NTK, x, y, points, noise_std=1.0)
    assert exact.covariance is not None
    process = fit(NTK, x, y, noise_std=1.0)
    samples = pathwise_samples(process, n_samples=SAMPLES, seed=1)
    _within_bounds(samples(points), exact.mean, exact.covariance)
    samples = pathwise_samples(process, n_samples=SAMPLES, seed=2)
    parts = torch.cat([samples(points[:2]), samples(points[2:3]), samples(points[3:])], dim=1)
    _within_bounds(parts, exact.mean, exact.covariance)


def test_outputs_are_independent() -> None:
    x, y, points = _data(outputs=2)
    process = fit_gp(NTK, x, y, noise_std=0.3)
    values = pathwise_samples(process, n_samples=SAMPLES, seed=0)(points)
    assert values.shape == (SAMPLES, 5, 2)
    exact = gp_posterior(NTK, x, y, points, noise_std=0.3)
    assert exact.covariance is not None
    for output in range(2):
        _within_bounds(values[..., output], exact.mean[:, output], exact.covariance[output])
    both = (values - values.mean(0)) / values.std(0)
    assert float((both[..., 0] * both[..., 1]).mean(0).abs().max()) < 5 / SAMPLES**0.5


def test_a_seed_is_a_function() -> None:
    """The same values again from the same seed, and at points that come again; others otherwise."""
    x, y, points = _data()
    process = fit_gp(NTK, x, y, noise_std=0.3)
    one, two, other = (pathwise_samples(process, n_samples=4, seed=s) for s in (3, 3, 4))
    first = one(points)
    assert torch.equal(first, two(points))
    assert float((first - other(points)).abs().min()) > 1e-6
    torch.testing.assert_close(one(points.flip(0)), first.flip(1), rtol=0, atol=1e-5)
    # points between those that are known, and the training points themselves
    at_data = one(x)
    torch.testing.assert_close(one(x[3:5]), at_data[:, 3:5], rtol=0, atol=1e-5)
    near = one(points + 1e-6)
    assert float((near - first).abs().max()) < 1e-3


def test_exact_prior_draws_have_the_kernel_as_covariance() -> None:
    """Also where points are equal or close; in calls one after another."""
    x, _, points = _data()
    x = torch.cat((x, x[:3], x[:3] + 1e-8))
    draws = JointDraws(NTK, SAMPLES, 0)
    values = torch.cat([draws(x), draws(points), draws(x[:2])], dim=1)
    everything = torch.cat((x, points, x[:2]))
    _within_bounds(values, torch.zeros(len(everything)).double(), NTK(everything))
    torch.testing.assert_close(values[:, :3], values[:, 12:15], rtol=0, atol=1e-4)
    torch.testing.assert_close(values[:, :2], values[:, -2:], rtol=0, atol=1e-4)


def test_variances_from_samples_say_their_error() -> None:
    x, y, points = _data()
    process = fit_gp_iterative(NTK, x, y, noise_std=0.3)
    samples = pathwise_samples(process, n_samples=200, seed=0)
    found, exact = samples.posterior(points), process.posterior(points)
    torch.testing.assert_close(found.mean, exact.mean)
    assert found.n_members == 200
    assert samples.relative_error == pytest.approx(0.05)
    ratio = (found.epistemic_variance / exact.epistemic_variance).sqrt()
    assert float((ratio - 1).abs().max()) < 4 * samples.relative_error
    lower, upper = found.interval(0.95)
    assert bool((upper - lower > 0).all())


@pytest.mark.parametrize("tangent", [True, False])
def test_finite_networks_give_approximate_draws(*, tangent: bool) -> None:
    """Their error is within what so many exact draws show; that of another kernel is not."""
    x, y, points = _data()
    both = (NTK, nngp(NETWORK))
    kernel, other = both if tangent else both[::-1]
    network = mlp(
        in_features=2, out_features=1, width=64, depth=2, activation=Erf(), bias_std=0.3
    ).double()
    prior = (finite_ntk_prior if tangent else finite_nngp_prior)(network, chunk=8)
    draws = prior(kernel, 120, 0)
    error = covariance_error(draws, kernel, points)
    assert error.observed < 2 * error.of_exact_draws
    wrong = covariance_error(draws, other, points)
    assert wrong.observed > 3 * wrong.of_exact_draws
    exact = covariance_error(JointDraws(kernel, 120, 0), kernel, points)
    assert 0.3 * exact.of_exact_draws < exact.observed < 2 * exact.of_exact_draws
    process = fit_gp(kernel, x, y, noise_std=0.3)
    values = pathwise_samples(process, n_samples=60, prior=prior)(points)
    posterior = process.posterior(points)
    assert posterior.covariance is not None
    _within_bounds(values, posterior.mean, posterior.covariance)


def test_too_many_points_for_exact_draws_are_said() -> None:
    x, y, points = _data()
    process = fit_gp(NTK, x, y, noise_std=0.3)
    small = partial(JointDraws, memory_budget=20_000)
    samples = pathwise_samples(process, n_samples=4, prior=small)
    samples(points)
    with pytest.raises(ValueError, match=r"exact draws at 57 points .*finite_ntk_prior"):
        samples(points.repeat(8, 1))
