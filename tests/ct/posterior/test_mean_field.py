import dataclasses

import pytest
import torch

import ct
from ct.inr.feature_grid import FeatureGrid
from ct.inr.pixel_grid import PixelGrid
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint
from tests.reference.gaussian_scan import GaussianScan

# many small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
SMALL = FeatureGrid(coarsest=5, channels=4, width=16)
SCAN = GaussianScan()
TAU = 100.0


def reconstruct(method: ct.problem.Method, *, seed: int = 0) -> ct.Reconstruction:
    return ct.reconstruct(
        SCAN.sinogram, SCAN.scan, SCAN.grid, method=method, noise_std=SCAN.noise_std, seed=seed
    )


@unchecked
def test_pixels_reach_the_optimum_that_is_known():
    method = ct.mean_field(
        network=PixelGrid(),
        steps=200,
        learning_rate=0.1,
        draws_per_step=4,
        tv_share=0,
        prior_precision=TAU,
        n_samples=400,
        held_out=0,
    )
    result = reconstruct(method)
    exact = SCAN.posterior(SCAN.pixel_prior(TAU))
    known = exact.independent()
    # 400 samples: their mean to 0.05 standard deviations, each pixel's spread to 3.5 %
    assert float(((result.mean - known.mean) / known.std).square().mean().sqrt()) < 0.08
    ratio = result.std / known.std
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float((ratio - 1).abs().max()) < 0.25
    # variances given all other pixels: far below the marginal ones
    assert float((result.std / exact.std).square().mean()) < 0.7
    # and the samples' pixels are independent
    white = known.whitened(result.samples)
    covariance = white.T.cov()
    off = covariance - covariance.diagonal().diag()
    assert float(off.square().sum() / (100 * 99)) == pytest.approx(1 / 400, rel=0.15)


@unchecked
def test_a_weaker_divergence_trusts_the_measurements_more():
    spreads, misfits = [], []
    for kl_weight in (1.0, 0.01):
        method = ct.mean_field(
            network=SMALL, steps=60, kl_weight=kl_weight, n_samples=10, held_out=0
        )
        result = reconstruct(method)
        spreads.append(float(result.std.mean()))
        misfits.append(result.metadata["diagnostics"][0]["chi_squared_per_ray"])
    assert spreads[1] < 0.9 * spreads[0]
    assert misfits[1] < misfits[0]


@pytest.mark.parametrize("stop_after", [7, 21])  # within the first fit, and the second
def test_an_interrupted_run_goes_on_to_the_same_numbers(stop_after):
    method = ct.mean_field(network=SMALL, steps=12, n_samples=3, held_out=0.2)
    whole = method.solve(SCAN.problem, seed=3)
    memory = MemoryCheckpoint(stop_after=stop_after)
    problem = dataclasses.replace(SCAN.problem, checkpoint=memory)
    with pytest.raises(InterruptionError):
        method.solve(problem, seed=3)
    memory.left = None
    resumed = method.solve(problem, seed=3)
    assert torch.equal(resumed.mean, whole.mean)
    assert torch.equal(resumed.std, whole.std)
    assert resumed.diagnostics == whole.diagnostics


def test_training_that_diverges_says_so():
    method = ct.mean_field(network=SMALL, learning_rate=1e30, steps=5, n_samples=2, held_out=0)
    with pytest.raises(ValueError, match="diverged"):
        reconstruct(method)


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial_std": 0.0},
        {"kl_weight": 0.0},
        {"learning_rate": float("nan")},
        {"prior_precision": -1.0},
        {"steps": 0},
        {"draws_per_step": 0},
        {"tv_share": -0.1},
        {"n_samples": 1},
        {"held_out": 0.6},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.mean_field(**wrong)
