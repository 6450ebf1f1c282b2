import dataclasses

import pytest
import torch

import ct
from bayesnn.inference.laplace import LaplacePosterior
from ct.inr.feature_grid import FeatureGrid
from ct.inr.pixel_grid import PixelGrid
from ct.posterior import laplace_fit
from ct.posterior.image_curvature import RayCurvature, VariationCurvature
from ensembles.memory import MALLOC
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint
from tests.reference.gaussian_scan import GaussianScan

SMALL = FeatureGrid(coarsest=5, channels=3, width=8)
FAST = ct.laplace(
    network=SMALL, steps=20, prior_precision=3.0, rank=8, max_iterations=30, n_samples=6, held_out=0
)
SCAN = GaussianScan()


def _solved(method, scan=SCAN):
    return ct.reconstruct(
        scan.sinogram, scan.scan, scan.grid, method=method, noise_std=scan.noise_std
    )


@pytest.mark.parametrize("stop_after", [1, 12, 20, 21, 22])
def test_an_interrupted_run_goes_on_to_the_same_numbers(stop_after):
    problem = dataclasses.replace(SCAN.problem, keep_samples=True)
    whole = FAST.solve(problem, seed=3)
    checkpoint = MemoryCheckpoint(stop_after=stop_after)
    with pytest.raises(InterruptionError):
        FAST.solve(dataclasses.replace(problem, checkpoint=checkpoint), seed=3)
    checkpoint.left = None
    again = FAST.solve(dataclasses.replace(problem, checkpoint=checkpoint), seed=3)
    assert torch.equal(again.mean, whole.mean)
    assert torch.equal(again.samples, whole.samples)
    assert again.diagnostics == whole.diagnostics


@pytest.mark.filterwarnings("ignore:memory budget")
@pytest.mark.parametrize(
    ("parameter_vectors", "default", "rank", "at_once"), [(12, 2**28, 3, 1), (10**6, 1, 8, 6)]
)
def test_the_problems_own_budget_decides(parameter_vectors, default, rank, at_once, monkeypatch):
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", default)
    ranks, sizes = [], []

    def watched(function):
        def call(*args, **settings):
            ranks.extend([settings["rank"]] if "rank" in settings else [])
            sizes.append(settings["at_once"])
            return function(*args, **settings)

        return call

    for name in ("laplace_posterior", "likeliest_prior_precision"):
        function = getattr(laplace_fit, name)
        monkeypatch.setattr(laplace_fit, name, watched(function))
    short = dataclasses.replace(FAST, steps=2, max_iterations=2)
    method = dataclasses.replace(short, network=PixelGrid(), prior_precision=None)
    one = SCAN.sinogram.element_size() * 10 * 10
    problem = dataclasses.replace(SCAN.problem, memory_budget=int(MALLOC * parameter_vectors * one))
    estimate = method.solve(problem, seed=0)
    assert estimate.diagnostics["samples_at_once"] == at_once
    assert set(ranks) == {rank}
    assert {min(size, FAST.n_samples) for size in sizes} == {at_once}


@pytest.mark.slow
def test_small_memory_means_smaller_chunks_and_the_same_samples(monkeypatch):
    exact = dataclasses.replace(FAST, network=PixelGrid(), tolerance=1e-7, max_iterations=200)
    together = _solved(exact)
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", 1)
    alone = _solved(exact)
    sizes = [one.metadata["diagnostics"][0]["samples_at_once"] for one in (together, alone)]
    assert sizes == [6, 1]
    assert torch.allclose(together.samples, alone.samples, atol=1e-5)


def test_the_mean_is_that_of_the_fit_and_the_residual_is_reached():
    result = _solved(dataclasses.replace(FAST, tolerance=1e-4, max_iterations=500))
    (said,) = result.metadata["diagnostics"]
    assert 0 < said["solve_residual"] < 1e-4
    assert (said["prior_precision"], said["prior_precision_source"]) == (3.0, "given")
    assert torch.allclose(result.samples.mean(0), result.mean)


@pytest.mark.slow
def test_total_variation_and_a_tight_prior_narrow():
    pixels = dataclasses.replace(FAST, network=PixelGrid(), steps=100, n_samples=40)
    widths = [
        float(_solved(dataclasses.replace(pixels, **settings)).std.square().mean())
        for settings in ({"tv_share": 0.0}, {}, {"tv_share": 0.0, "prior_precision": 300.0})
    ]
    assert widths[1] < 0.8 * widths[0]
    assert widths[2] < 0.8 * widths[0]


def test_another_seed_draws_other_samples(monkeypatch):
    seeds, sample = [], LaplacePosterior.sample

    def recorded(self, places, *, seed):
        seeds.append(seed)
        return sample(self, places, seed=seed)

    monkeypatch.setattr(LaplacePosterior, "sample", recorded)
    method = dataclasses.replace(FAST, steps=1, rank=0, max_iterations=1)
    for seed in (0, 1):
        method.solve(SCAN.problem, seed=seed)
    assert len(set(seeds)) == 2


def test_without_a_precision_the_likeliest_is_taken():
    method = dataclasses.replace(FAST, network=PixelGrid(), prior_precision=None, tv_share=0.0)
    (said,) = _solved(method).metadata["diagnostics"]
    assert said["prior_precision_source"] == "marginal likelihood"
    # the image's own mean square, in the network's units, is not far from 1/τ
    assert 1 < said["prior_precision"] < 50


@pytest.mark.parametrize("kind", ["rays", "variation"])
def test_curvatures_draw_with_the_covariance_that_they_are(kind):
    problem = SCAN.problem
    image = torch.randn(10, 10, generator=torch.Generator().manual_seed(0)).double()
    curvature = {
        "rays": RayCurvature(projector=problem.projector, noise_std=problem.noise_std),
        "variation": VariationCurvature.near(image, torch.tensor(5.0).double()),
    }[kind]
    pixels = torch.eye(100, dtype=torch.float64).reshape(-1, 10, 10)
    matrix = curvature(pixels).flatten(1)
    assert torch.allclose(matrix, matrix.T, atol=1e-9)
    n = 3000
    draws = torch.stack([
        curvature.draw(torch.Generator().manual_seed(k)).flatten() for k in range(n)
    ])
    scale = matrix.diagonal().sqrt()
    error = (draws.T @ draws / n - matrix) / scale / scale[:, None]
    assert float(error.abs().max()) < 5.5 * (2 / n) ** 0.5


def test_the_gaussian_for_total_variation_touches_it_at_edges():
    weight = torch.tensor(1e4).double()
    image = (torch.arange(10)[:, None] > 4).double().expand(10, 10).clone().requires_grad_()
    from ct.classical.total_variation import isotropic_tv

    (slope,) = torch.autograd.grad(weight * isotropic_tv(image), image)
    near = VariationCurvature.near(image.detach(), weight)
    assert torch.allclose(near(image.detach()[None])[0], slope, rtol=1e-3, atol=1e-6)
    flat = VariationCurvature.near(torch.zeros(10, 10).double(), weight)
    assert torch.allclose(flat.weights, weight**2 / 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"tv_share": -1.0},
        {"prior_precision": 0.0},
        {"tolerance": 0.0},
        {"rank": -1},
        {"max_iterations": 0},
        {"n_samples": 1},
        {"held_out": 0.6},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.laplace(**wrong)


def test_training_that_diverges_says_so():
    with pytest.raises(ValueError, match="diverged"):
        _solved(dataclasses.replace(FAST, learning_rate=1e30))
