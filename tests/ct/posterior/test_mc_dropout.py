import math

import pytest
import torch

import ct
from bayesnn.calibration import coverage
from ct.classical.windows import hann, ramp
from ct.inr.feature_grid import FeatureGrid
from ct.inr.fourier_network import FourierNetwork


def _phantom(side: int) -> torch.Tensor:
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    return torch.from_numpy(resize(shepp_logan_phantom(), (side, side), anti_aliasing=True))


def _scan(side: int, views: int) -> ct.ParallelBeam:
    angles = [k * math.pi / views for k in range(views)]
    return ct.ParallelBeam(angles, n_detectors=math.ceil(math.sqrt(2) * side) + 1)


def _measure(image: torch.Tensor, scan: ct.ParallelBeam, *, snr_db: float) -> tuple:
    sinogram = ct.projector(ct.ImageGrid(tuple(image.shape)), scan)(image)
    noise_std = float(sinogram.square().mean().sqrt()) * 10 ** (-snr_db / 20)
    noise = torch.randn(sinogram.shape, generator=torch.Generator().manual_seed(0))
    return (sinogram + noise_std * noise).float(), noise_std


def _psnr(image: torch.Tensor, truth: torch.Tensor) -> float:
    mse = (image.double().clamp(truth.min(), truth.max()) - truth).square().mean()
    return float(10 * torch.log10((truth.max() - truth.min()) ** 2 / mse))


@pytest.fixture(scope="module")
def phantom():
    """A Shepp–Logan phantom from 20 noisy views, with the defaults but fewer steps."""
    truth, grid, scan = _phantom(64), ct.ImageGrid((64, 64)), _scan(64, 20)
    sinogram, noise_std = _measure(truth, scan, snr_db=30)
    result = ct.reconstruct(
        sinogram, scan, grid, method=ct.mc_dropout(steps=300, centre_steps=150), noise_std=noise_std
    )
    best_fbp = max(
        _psnr(
            ct.reconstruct(sinogram, scan, grid, method=ct.fbp(window=w), noise_std=1).mean, truth
        )
        for w in (ramp, hann)
    )
    return truth, result, best_fbp


@pytest.mark.slow
def test_the_mean_is_better_than_filtered_back_projection(phantom):
    truth, result, best_fbp = phantom
    assert _psnr(result.mean, truth) > best_fbp + 2.5


@pytest.mark.slow
def test_the_error_bars_say_where_the_errors_are(phantom):
    truth, result, _ = phantom
    error = (result.mean - truth).abs()
    certain = result.std < result.std.quantile(0.5)
    assert float(error[certain].mean()) < 0.5 * float(error[~certain].mean())
    assert float(coverage(result.interval(0.95), truth)) > 0.85
    # and they do not buy coverage by width
    assert float(result.std.square().mean().sqrt()) < 2.5 * float(
        (result.mean - truth).square().mean().sqrt()
    )


@pytest.mark.slow
def test_samples_differ_at_random_from_pixel_to_pixel_no_more_than_images_do(phantom):
    _, result, _ = phantom
    deviations = (result.samples - result.mean) / result.std
    neighbours = (deviations[:, :, 1:] * deviations[:, :, :-1]).mean()
    assert float(neighbours) > 0.2  # a mask for each pixel would give 0


def test_more_total_variation_in_the_objective_flattens_the_image():
    truth, grid, scan = _phantom(32), ct.ImageGrid((32, 32)), _scan(32, 12)
    sinogram, noise_std = _measure(truth, scan, snr_db=30)
    tv = []
    for share in (0.0, 5.0):
        method = ct.mc_dropout(steps=100, centre_steps=50, n_samples=5, tv_share=share, held_out=0)
        image = ct.reconstruct(sinogram, scan, grid, method=method, noise_std=noise_std).mean
        tv.append(float(image.diff(dim=0).abs().sum() + image.diff(dim=1).abs().sum()))
    assert tv[1] < 0.7 * tv[0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dropout": 0.0},
        {"dropout": 1.0},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"centre_steps": -1},
        {"tv_share": -1.0},
        {"tv_share": float("nan")},
        {"n_samples": 1},
        {"held_out": 0.6},
        {"held_out": -0.1},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ct.mc_dropout(**wrong)


def test_training_that_diverges_says_so():
    grid, scan = ct.ImageGrid((8, 8)), _scan(8, 4)
    method = ct.mc_dropout(learning_rate=1e30, steps=5, centre_steps=0, n_samples=2)
    with pytest.raises(ValueError, match="diverged"):
        ct.reconstruct(torch.randn(4, 13), scan, grid, method=method, noise_std=0.1)


def test_settings_name_the_network_and_its_own_settings():
    settings = ct.mc_dropout(network=FourierNetwork(width=20), steps=7).settings()
    assert settings["network"] == "fourier"
    assert (settings["network.width"], settings["network.activation"]) == (20, "silu")
    assert settings["steps"] == 7
    assert ct.mc_dropout().settings()["network.finest"] == FeatureGrid().finest
