"""The exact posterior of the infinitely wide network, against dense algebra."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ct
from bayesnn.kernels import nngp, ntk
from ct.method_choice import choose_method
from ct.posterior.infinite_width_prior import posterior_of
from ct.problem import Problem
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

FREQUENCIES = 4 * torch.randn(40, 2, generator=torch.Generator().manual_seed(3)).double()


def _problem(
    shape=(7, 9), *, views=8, noise=0.3, missing=0, fan=False, uneven=False, dtype=torch.float64
) -> Problem:
    grid = ct.ImageGrid(shape, pixel_size=0.8)
    arc = (2 if fan else 1) * math.pi
    angles = [k * arc / views for k in range(views)]
    scan = (
        ct.FanBeam(angles, 15, source_origin=20.0, source_detector=40.0, detector_spacing=1.6)
        if fan
        else ct.ParallelBeam(angles, 15, 0.8)
    )
    operator = ct.projector(grid, scan)
    x, y = grid.x_positions, grid.y_positions[:, None]
    clean = operator(5 + ((x + 1) ** 2 + y**2 < 3).double())
    generator = torch.Generator().manual_seed(4)
    spread = torch.rand(clean.shape, generator=generator, dtype=torch.float64) if uneven else 0.5
    std = noise * (0.5 + spread) * torch.ones_like(clean)
    rays = clean + std * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    hidden = torch.randperm(std.numel(), generator=generator)[:missing]
    std.view(-1)[hidden] = math.inf
    rays.view(-1)[hidden] = 1e3  # a guess that must not matter
    return Problem(
        sinogram=rays.to(dtype), noise_std=std.to(dtype), projector=operator, grid=grid, scan=scan
    )


def _dense(problem: Problem, prior) -> tuple[torch.Tensor, torch.Tensor]:
    """Kriging with a mean level, written out: mean and covariance of the pixels."""
    n = math.prod(problem.grid.shape)
    pixels = torch.eye(n, dtype=torch.float64).reshape(n, *problem.grid.shape)
    measured = problem.noise_std.isfinite().flatten()
    A = problem.projector(pixels).flatten(1).T[measured]
    y = problem.sinogram.double().flatten()[measured]
    sigma = prior.scales.noise_factor * problem.noise_std.double().flatten()[measured]
    K = prior.scales.prior_std**2 * _correlation(problem, prior)
    u = A.sum(1)
    M = torch.linalg.inv(A @ K @ A.T + sigma.square().diag())
    precision = u @ M @ u + prior.level_std**-2
    level = u @ M @ y / precision
    gain = K @ A.T @ M
    rest = torch.ones(n, dtype=torch.float64) - gain @ u
    mean = level + gain @ (y - level * u)
    covariance = K - gain @ A @ K + rest[:, None] * rest / precision
    return mean.reshape(problem.grid.shape), covariance


def _correlation(problem: Problem, prior) -> torch.Tensor:
    """The network's own kernel at the pixels' coordinates, without the level."""
    from bayesnn.networks import FourierFeatures, InfiniteFourierFeatures, mlp
    from ct.inr.coordinates import pixel_coordinates
    from ct.posterior.infinite_width_network import activation_module

    net, B = prior.network, prior.frequencies
    n = 1 if B is None else len(B)
    features = (
        InfiniteFourierFeatures(2, frequency_std=prior.scales.frequency_std)
        if B is None
        else FourierFeatures(2, n, frequency_std=1.0).double()
    )
    if B is not None:
        features.frequencies = B
    network = nn.Sequential(
        features,
        mlp(
            in_features=2 * n, out_features=1, width=4, depth=net.depth,
            activation=activation_module(net.activation),
            weight_std=net.weight_std, bias_std=net.bias_std,
        ),
    )  # fmt: skip
    kernel = net.kernel(network)(pixel_coordinates(problem.grid.shape).reshape(-1, 2))
    return (kernel - net.constant) / (net.variance - net.constant)


def _exact(**settings):
    return ct.infinite_width(tolerance=1e-9, sample_tolerance=1e-4, **settings)


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max())


@settings(max_examples=8)
@given(
    shape=st.sampled_from([(6, 6), (5, 9), (8, 4)]),
    frequency_std=st.floats(1.5, 6.0),
    amplitude=st.floats(0.05, 1.0),
    depth=st.integers(1, 3),
    kernel=st.sampled_from([nngp, ntk]),
    unknown_level=st.booleans(),
    missing=st.sampled_from([0, 20]),
    fan=st.booleans(),
    uneven=st.booleans(),
)
def test_the_mean_is_that_of_dense_kriging(
    shape, frequency_std, amplitude, depth, kernel, unknown_level, missing, fan, uneven
):
    method = _exact(
        kernel=kernel, depth=depth, frequency_std=frequency_std, amplitude=amplitude,
        unknown_level=unknown_level, n_samples=2,
    )  # fmt: skip
    problem = _problem(shape, missing=missing, fan=fan, uneven=uneven)
    prior = method.prior(problem)
    assert math.isclose(prior.amplitude, amplitude)
    posterior = method.posterior(problem, prior)
    mean, covariance = _dense(problem, prior)
    assert _largest(posterior.mean - mean) < 1e-6 * _largest(mean)
    assert _largest(posterior.mean - mean) < 1e-3 * float(covariance.diagonal().max().sqrt())


@pytest.mark.parametrize(
    ("frequencies", "unknown_level"),
    [(None, True), (FREQUENCIES, False)],
    ids=["limit", "finite"],
)
def test_samples_have_the_covariance_of_dense_kriging(frequencies, unknown_level):
    problem = dataclasses.replace(_problem((5, 5), uneven=True), keep_samples=True)
    method = _exact(
        frequencies=frequencies, frequency_std=None if frequencies is not None else 3.0,
        activation=torch.erf, kernel=nngp, depth=2, amplitude=0.3, unknown_level=unknown_level,
        n_samples=250,
    )  # fmt: skip
    estimate = method.solve(problem, seed=0)
    assert estimate.samples is not None
    mean, covariance = _dense(problem, method.prior(problem))
    assert _largest(estimate.mean - mean) < 1e-6 * _largest(mean)
    assert _largest(estimate.samples.mean(0) - estimate.mean) < 1e-9
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, (estimate.samples - mean).flatten(1).T, upper=False)
    found, p, n = white @ white.T / (len(white.T) - 1), len(white), len(white.T)
    excess = float((found - torch.eye(p)).square().sum()) * (n - 1)
    assert excess < 1.3 * p * (p + 1)  # a Wishart matrix has p(p + 1)
    # four standard errors of a standard deviation from n samples
    within = 4 / math.sqrt(2 * (n - 1))
    assert torch.allclose(estimate.std.flatten(), covariance.diagonal().sqrt(), rtol=within)


def test_given_frequencies_have_no_embedding_and_are_not_clipped():
    problem = _problem()
    method = _exact(
        frequencies=FREQUENCIES, activation=torch.erf, kernel=nngp, depth=2, amplitude=0.3,
        n_samples=2,
    )  # fmt: skip
    estimate = method.solve(problem, seed=0)
    assert estimate.diagnostics["least_eigenvalue"] < -0.01
    assert estimate.diagnostics["prior_draws"] == "random features"
    prior = method.prior(problem)
    with pytest.raises(ValueError, match="least eigenvalue"):
        prior.kernel.draw(0, range(1))
    mean, _ = _dense(problem, prior)
    assert _largest(estimate.mean - mean) < 1e-6 * _largest(mean)


def test_both_solvers_agree():
    problem = _problem(uneven=True, missing=10)
    method = _exact(frequency_std=3.0, amplitude=0.2)
    prior = method.prior(problem)
    bare = dataclasses.replace(prior.kernel, negative_share=1.0)  # so that weights are not used
    ours = method.posterior(problem, prior)
    theirs = posterior_of(problem, dataclasses.replace(prior, kernel=bare), tolerance=1e-10)
    assert type(ours.solver) is not type(theirs.solver)
    assert _largest(ours.mean - theirs.mean) < 1e-6 * _largest(ours.mean)
    assert math.isclose(ours.level_precision, theirs.level_precision, rel_tol=1e-4)


def test_float32_is_near_float64_with_a_large_level():
    method = ct.infinite_width(frequency_std=4.0, amplitude=0.2, tolerance=1e-4)
    means = []
    for dtype in (torch.float32, torch.float64):
        problem = _problem((12, 12), noise=0.05, dtype=dtype)
        means.append(method.posterior(problem, method.prior(problem)).mean.double())
    assert _largest(means[0] - means[1]) < 1e-3


def test_the_residuals_are_true_and_within_the_tolerance():
    problem = _problem((12, 12), dtype=torch.float32)
    estimate = ct.infinite_width(tolerance=1e-3, n_samples=3).solve(problem, seed=0)
    assert estimate.diagnostics["residual"] < 2e-3
    assert estimate.diagnostics["sample_residual"] < 6e-3
    assert estimate.diagnostics["iterations"] > 1


def test_scales_are_chosen_from_the_measurements_and_said():
    loud, quiet = (
        ct.infinite_width(n_samples=2).solve(
            dataclasses.replace(problem, sinogram=factor * problem.sinogram,
                                noise_std=factor * problem.noise_std), seed=0,
        ).diagnostics
        for problem, factor in ((_problem(), 64.0), (_problem(), 1.0))
    )  # fmt: skip
    assert math.isclose(loud["amplitude"], 64 * quiet["amplitude"], rel_tol=1e-3)
    assert math.isclose(loud["frequency_std"], quiet["frequency_std"], rel_tol=1e-3)


@pytest.mark.filterwarnings("ignore:memory budget")
def test_an_interruption_changes_nothing():
    problem = dataclasses.replace(_problem(), keep_samples=True, memory_budget=1)
    method = ct.infinite_width(n_samples=5)
    whole = method.solve(problem, seed=3)
    place = MemoryCheckpoint(stop_after=2)
    interrupted = dataclasses.replace(problem, checkpoint=place)
    with pytest.raises(InterruptionError):
        method.solve(interrupted, seed=3)
    calls = []
    again = method.solve(interrupted, seed=3, progress=lambda done, _: calls.append(done))
    assert calls == [1, 4, 5, 6]
    assert torch.equal(whole.std, again.std)
    assert torch.equal(whole.samples, again.samples)


@pytest.mark.filterwarnings("ignore:memory budget")
def test_samples_do_not_depend_on_what_is_drawn_beside_them():
    problem = dataclasses.replace(_problem(), keep_samples=True)
    method = ct.infinite_width(n_samples=4, sample_tolerance=1e-6)
    together = method.solve(problem, seed=3)
    alone = method.solve(dataclasses.replace(problem, memory_budget=1), seed=3)
    # where a solve ends, its rounding is another in another batch: compare what is solved well
    assert _largest(together.samples - alone.samples) < 0.02 * float(alone.std.min())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frequency_std": 0.0}, "frequency_std"),
        ({"amplitude": -1.0}, "amplitude"),
        ({"n_samples": 1}, "n_samples"),
        ({"tolerance": 1.0}, "tolerance"),
        ({"held_out": 0.7}, "held_out"),
        ({"depth": -1}, "depth"),
        ({"activation": torch.cos}, "activation: expected"),
        ({"kernel": torch.cos}, "kernel: expected"),
        ({"frequencies": [[1.0, 2.0, 3.0]]}, r"expected shape \[n, 2\]"),
        ({"frequencies": [[1.0, math.nan]]}, "finite"),
        ({"frequencies": [[1.0, 2.0]], "frequency_std": 3.0}, "beside frequencies"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ct.infinite_width(**wrong)


def test_a_scan_without_a_measured_ray_in_the_image_is_refused():
    problem = _problem()
    lengths = problem.projector(torch.ones(problem.grid.shape, dtype=torch.float64))
    assert (lengths == 0).any()  # what was measured is air beside the image
    beside = torch.where(lengths > 0, math.inf, problem.noise_std)
    with pytest.raises(ValueError, match="no measured ray meets the image"):
        ct.infinite_width(n_samples=2).solve(dataclasses.replace(problem, noise_std=beside), seed=0)


def test_held_out_views_on_request():
    result = ct.infinite_width(n_samples=8, held_out=0.25).solve(_problem(), seed=0)
    assert "held-out" in result.calibration or "held out" in result.calibration


def test_settings_by_name():
    method = choose_method("infinite-width", {"kernel": "nngp", "activation": "erf", "depth": 2})
    assert method == ct.infinite_width(kernel=nngp, activation=torch.erf, depth=2)
    assert choose_method("infinite-width", method.settings()).settings() == method.settings()
