import math

import pytest
import torch

import ct
from ct.inr.feature_grid import FeatureGrid
from ct.inr.links import sigmoid
from ct.inr.wide_network import WideNetwork
from ct.posterior import ntkgp as ntkgp_module
from ct.posterior.image_model import image_model
from ct.posterior.ntkgp_members import MemberWork
from ct.posterior.ray_observation import ray_observation
from ct.posterior.training import Descent
from ct.problem import Problem
from ensembles.trainers.gauss_newton import gauss_newton
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint
from tests.reference.tangent_posterior import tangent_posterior

SIDE, VIEWS, BINS = 10, 6, 15
SETTINGS = {"n_frequencies": 60, "frequency_std": 4.0, "depth": 1}
PRIOR_STD = 0.5


def _problem(dtype: torch.dtype = torch.float64, **settings) -> Problem:
    grid = ct.ImageGrid((SIDE, SIDE))
    scan = ct.ParallelBeam([k * math.pi / VIEWS for k in range(VIEWS)], n_detectors=BINS)
    A = ct.projector(grid, scan)
    x, y = grid.x_positions, grid.y_positions[:, None]
    image = ((x - 1) ** 2 + y**2 < 9).double()
    noise = torch.randn(
        VIEWS, BINS, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    return Problem(
        sinogram=(A(image) + 0.2 * noise).to(dtype),
        noise_std=torch.full((VIEWS, BINS), 0.2, dtype=dtype),
        projector=A,
        grid=grid,
        scan=scan,
        keep_samples=True,
        **settings,
    )


def _method(width: int = 64, **settings) -> ntkgp_module.NTKGP:
    return ct.ntkgp(
        network=WideNetwork(width=width, **SETTINGS), prior_std=PRIOR_STD, held_out=0, **settings
    )


def _exact_samples(model, work, numbers):
    """Return the exact posterior samples that the members' own draws make, and the posterior."""
    exact = tangent_posterior(model, prior_std=PRIOR_STD)
    images, seen = work.drawn(numbers)
    gain = exact.gain
    residual = (seen - model.problem.projector(images)).flatten(1)
    return (images.flatten(1) + residual @ gain.T), exact


def _distance(width: int, trainer) -> float:
    problem = _problem()
    model = image_model(problem, WideNetwork(width=width, **SETTINGS), seed=3)
    work = MemberWork(model.network, model.problem, prior_std=PRIOR_STD, seed=3, trainer=trainer)
    members = work.members(range(6), problem.checkpoint, lambda _: None)
    samples, exact = _exact_samples(model, work, range(6))
    return float(((members.images.flatten(1) - samples) / exact.std).square().mean().sqrt())


def test_members_tend_to_exact_posterior_samples_as_width_grows():
    trainer = gauss_newton(max_steps=40, tolerance=1e-5)
    narrow, wide = (_distance(width, trainer) for width in (32, 512))
    assert wide < 0.5 * narrow  # theory: a quarter
    assert wide < 0.15


@pytest.mark.slow
def test_adam_comes_near_the_same_optimum():
    descent = Descent(steps=600, learning_rate=0.05)
    assert _distance(256, descent) < 0.3


def test_spread_and_mean_are_those_of_the_exact_posterior():
    problem, method = _problem(), _method(256, n_members=32, max_steps=20)
    estimate = method.solve(problem, seed=0)
    model = image_model(problem, method.network, seed=0)
    exact = tangent_posterior(model, prior_std=PRIOR_STD)
    mean = (estimate.mean - model.values.offset) / model.values.scale
    std = estimate.std / model.values.scale
    ratio = float(std.square().mean().sqrt() / exact.std.square().mean().sqrt())
    assert ratio == pytest.approx(1, abs=0.1)
    error = (mean.flatten() - exact.mean) / exact.std
    assert float(error.square().mean().sqrt()) < 2 / math.sqrt(32)
    # and measurements narrowed it: the prior alone would not pass
    assert float(exact.std.mean()) < 0.6 * PRIOR_STD


def test_before_training_members_have_the_prior_of_the_tangent_kernel():
    problem = _problem()
    model = image_model(problem, WideNetwork(width=256, **SETTINGS), seed=1)
    work = MemberWork(
        model.network, model.problem, prior_std=PRIOR_STD, seed=1, trainer=gauss_newton()
    )
    images, seen = work.drawn(range(300))
    deviations = images.flatten(1) - model.network.start
    covariance = deviations.T @ deviations / 300
    kernel = tangent_posterior(model, prior_std=PRIOR_STD).prior
    expected = ((kernel.norm() ** 2 + kernel.trace() ** 2) / 300).sqrt()  # of a Wishart matrix
    assert float((covariance - kernel).norm() / expected) < 1.3
    assert float(covariance.trace() / kernel.trace()) == pytest.approx(1, abs=0.08)
    noise = (seen - model.problem.sinogram) / model.problem.noise_std
    assert float(noise.square().mean()) == pytest.approx(1, abs=0.05)


def test_members_of_chunks_are_those_of_all(monkeypatch):
    method = _method(n_members=3, max_steps=3)
    together = method.solve(_problem(), seed=0)
    monkeypatch.setattr(MemberWork, "at_once", lambda _: 1)
    apart = method.solve(_problem(), seed=0)
    assert (together.diagnostics["members_at_once"], apart.diagnostics["members_at_once"]) == (3, 1)
    assert torch.allclose(together.samples, apart.samples, atol=1e-7)


def test_an_interrupted_run_goes_on_to_the_same_numbers():
    method = _method(n_members=3, max_steps=6)
    whole = method.solve(_problem(), seed=4)
    checkpoint = MemoryCheckpoint(stop_after=4)
    with pytest.raises(InterruptionError):
        method.solve(_problem(checkpoint=checkpoint), seed=4)
    calls: list[tuple[int, int]] = []
    resumed = method.solve(
        _problem(checkpoint=checkpoint), seed=4, progress=lambda *call: calls.append(call)
    )
    assert calls[0] == (15, 18)
    assert torch.equal(resumed.samples, whole.samples)


def test_single_precision_is_computed_in_double_and_given_back():
    method = _method(n_members=3, max_steps=4)
    single, double = (
        method.solve(_problem(dtype), seed=0) for dtype in (torch.float32, torch.float64)
    )
    assert single.mean.dtype == torch.float32
    assert torch.allclose(single.samples.double(), double.samples, atol=1e-4)


def test_larger_scans_are_trained_by_adam(monkeypatch):
    monkeypatch.setattr(ntkgp_module, "SECOND_ORDER_SIZE", 50)
    estimate = _method(n_members=2, adam_steps=3).solve(_problem(), seed=0)
    assert estimate.diagnostics["trainer"] == "adam"
    assert bool(estimate.std.isfinite().all())


def test_rays_as_a_matrix_are_the_projector_and_its_adjoint():
    A = _problem().projector
    rays = ray_observation(A, factor=0.7, like=torch.zeros(1, dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, SIDE, SIDE, dtype=torch.float64, generator=generator)
    sinogram = torch.randn(2, VIEWS, BINS, dtype=torch.float64, generator=generator)
    ours = rays(image.flatten(1).unsqueeze(-1)).view(2, VIEWS, BINS)
    assert torch.allclose(ours, 0.7 * A(image))
    back = rays.transpose(sinogram.flatten(1).unsqueeze(-1)).view(2, SIDE, SIDE)
    assert torch.allclose(back, 0.7 * A.T(sinogram))


@pytest.mark.parametrize(
    ("network", "message"),
    [(FeatureGrid(), "feature-grid"), (WideNetwork(link=sigmoid), "linear output.*sigmoid")],
    ids=["no prior", "sigmoid"],
)
def test_networks_without_a_prior_or_a_linear_output_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        ct.ntkgp(network=network)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_members": 1},
        {"prior_std": 0.0},
        {"max_steps": 0},
        {"tolerance": -1.0},
        {"adam_steps": 0},
        {"learning_rate": 0.0},
        {"held_out": 0.6},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.ntkgp(**wrong)
