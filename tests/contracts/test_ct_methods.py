"""Laws of every reconstruction method."""

import json
import math

import pytest
import torch

import ct
from ct.classical.tv_differences import anisotropic
from ct.classical.windows import ramp
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork
from ct.inr.wide_network import WideNetwork
from ct.method_names import METHOD_NAMES
from ct.problem import StackMethod

SMALL = FeatureGrid(coarsest=8, channels=4, width=16)
METHODS = [
    ct.fbp(),
    ct.fbp(window=ramp),
    ct.sirt(),
    ct.sirt(iterations=10, relaxation=1.5),
    ct.cgls(),
    ct.cgls(iterations=5, damping=0.05),
    ct.tv(tolerance=0.1),
    ct.tv(norm=anisotropic, minimum=-1e6, tolerance=0.3),
    ct.bm3d(steps=3, group=4, patch=4, reach=4),
    ct.mc_dropout(network=SMALL, steps=15, centre_steps=5, n_samples=4),
    ct.mc_dropout(
        network=FourierNetwork(n_frequencies=20, width=16, depth=2),
        dropout=0.2,
        steps=10,
        centre_steps=0,
        n_samples=3,
        learning_rate=1e-3,
    ),
    ct.published_mc_dropout(
        n_frequencies=20, width=16, depth=2, steps=10, n_samples=3, learning_rate=1e-3
    ),
    ct.ensemble(network=SMALL, n_members=2, steps=8),
    ct.ensemble(
        network=FourierNetwork(n_frequencies=20, width=16, depth=2),
        n_members=2,
        perturbed=False,
        dropout=0.2,
        samples_per_member=2,
        steps=5,
        learning_rate=1e-3,
        held_out=0,
    ),
    ct.hmc(
        n_chains=2, warm_up=5, samples_per_chain=2, thinning=2, max_leapfrogs=1, steps=4, held_out=0
    ),
    ct.mean_field(network=SMALL, steps=10, n_samples=3),
    ct.ntkgp(
        network=WideNetwork(n_frequencies=20, width=8, depth=1, frequency_std=5.0),
        n_members=2,
        max_steps=2,
    ),
    ct.laplace(network=SMALL, steps=8, prior_precision=10.0, rank=4, max_iterations=8, n_samples=3),
    ct.infinite_width(depth=1, n_samples=3),
    ct.jackknife(mean=ct.cgls(iterations=5), n_folds=3, n_samples=3),
]
IDS = [
    "fbp-hann",
    "fbp-ramp",
    "sirt",
    "sirt-10",
    "cgls",
    "cgls-damped",
    "tv",
    "tv-anisotropic",
    "bm3d",
    "mc-dropout-grid",
    "mc-dropout-fourier",
    "published-mc-dropout",
    "ensemble-grid",
    "ensemble-fourier-dropout",
    "hmc",
    "mean-field",
    "ntkgp",
    "laplace",
    "infinite-width",
    "jackknife",
]
every_method = pytest.mark.parametrize("method", METHODS, ids=IDS)

GRID = ct.ImageGrid(shape=(14, 20), pixel_size=0.8)
SCAN = ct.ParallelBeam([k * math.pi / 9 for k in range(9)], n_detectors=30, detector_spacing=0.8)


def _sinogram(slices: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return noisy line integrals of discs of different sizes."""
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    images = torch.stack([((x - 1) ** 2 + y**2 < 9 + k).double() for k in range(slices)])
    noise = torch.randn(slices, 9, 30, generator=torch.Generator().manual_seed(5))
    return (ct.projector(GRID, SCAN)(images) + 0.05 * noise.double()).to(dtype)


@every_method
def test_results_have_the_shape_dtype_and_device_of_the_input(method, device):
    for dtype in (torch.float32, torch.float64):
        sinogram = _sinogram(2, dtype).to(device)
        result = ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.05)
        for image in (result.mean, result.std):
            if image is None:
                continue
            assert image.shape == (2, 14, 20)
            assert image.dtype == dtype
            assert image.device == sinogram.device
            assert bool(image.isfinite().all())
        assert (result.std is None) == (method.n_samples is None)
        if result.std is not None:
            assert bool((result.std > 0).all())
            assert result.samples is not None
            assert torch.allclose(result.samples.mean(1), result.mean, atol=1e-5)
            assert torch.allclose(result.samples.std(1), result.std, atol=1e-5)
        json.dumps(result.metadata)


@every_method
def test_the_seed_decides_everything_and_nothing_else_does(method, device):
    sinogram = _sinogram()[0].to(device)
    before = torch.get_rng_state()
    first, again, other = (
        ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.05, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.mean, again.mean)
    if first.std is None:
        assert torch.equal(first.mean, other.mean)
    else:  # an exact mean depends on no seed
        assert torch.equal(first.std, again.std)
        assert not torch.equal(first.std, other.std)
    if first.samples is not None:
        assert torch.equal(first.samples, again.samples)
        assert not torch.equal(first.samples, other.samples)


@every_method
def test_a_slice_is_the_same_alone_and_in_a_stack(method):
    sinogram = _sinogram(3)
    stack = ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.05, seed=7)
    part = ct.reconstruct(
        sinogram[1:], SCAN, GRID, method=method, noise_std=0.05, seed=7, first_slice=1
    )
    alone = ct.reconstruct(
        sinogram[2], SCAN, GRID, method=method, noise_std=0.05, seed=7, first_slice=2
    )
    # several at once may be summed in another order
    tolerance = 1e-11 if isinstance(method, StackMethod) else 0.0
    for one, other in ((stack.mean[1:], part.mean), (stack.mean[2], alone.mean)):
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance)
    assert part.metadata["slices"] == [1, 2]
    if stack.std is not None and alone.std is not None:
        assert torch.equal(stack.std[2], alone.std)


@every_method
@pytest.mark.parametrize("factor", [1024.0, 2.0**-20])
def test_units_of_the_sinogram_are_units_of_the_image(method, factor):
    sinogram = _sinogram()[0]
    plain = ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.05)
    scaled = ct.reconstruct(factor * sinogram, SCAN, GRID, method=method, noise_std=0.05 * factor)
    assert torch.allclose(scaled.mean, factor * plain.mean, rtol=1e-9, atol=1e-9 * factor)
    if plain.std is not None and scaled.std is not None:
        assert torch.allclose(scaled.std, factor * plain.std, rtol=1e-9)


@every_method
def test_a_negative_image_is_as_good_as_a_positive_one(method):
    # Hounsfield units start at −1000: a constant added to the image must not ruin the result
    shift = ct.projector(GRID, SCAN)(torch.full(GRID.shape, -1000.0, dtype=torch.float64))
    sinogram = _sinogram()[0]
    result = ct.reconstruct(400 * sinogram + shift, SCAN, GRID, method=method, noise_std=20.0)
    assert bool(result.mean.isfinite().all())
    assert -2500 < float(result.mean.median()) < 0


@every_method
def test_progress_counts_up_to_the_whole(method):
    calls: list[tuple[int, int]] = []
    ct.reconstruct(
        _sinogram(2), SCAN, GRID, method=method, noise_std=0.05,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert calls[-1][0] == calls[-1][1]
    assert len({call[1] for call in calls}) == 1


@every_method
def test_settings_and_name_are_plain(method):
    assert json.loads(json.dumps(method.settings())) == method.settings()
    assert method.name in METHOD_NAMES
