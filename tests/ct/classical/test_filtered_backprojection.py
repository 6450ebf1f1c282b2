from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, resize
from torch import Tensor

from ct.classical.filtered_backprojection import fbp, filtered_backprojection
from ct.classical.windows import Window, hann, ramp
from ct.geometry import ImageGrid, ParallelBeam
from ct.problem import Method, Problem
from ct.projectors.operator import projector
from tests.reference.gaussian_phantom import GaussianBlob

BLOB = GaussianBlob(x=6.0, y=-4.0, a=5.0, b=3.5, tilt=0.4)
GRID = ImageGrid(shape=(41, 47))


def _half_turn(n_views: int, start: float = 0.0) -> np.ndarray:
    return start + np.pi * np.arange(n_views) / n_views


def _error(scan: ParallelBeam, window: Window = ramp, grid: ImageGrid = GRID) -> float:
    """Relative error on the blob from its sinogram in closed form."""
    image, truth = (
        filtered_backprojection(BLOB.sinogram(scan), grid, scan, window),
        BLOB.image(grid),
    )
    return float((image - truth).norm() / truth.norm())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"center": 27.6},
        {"n_detectors": 131, "detector_spacing": 0.5},
        {"angles": _half_turn(90, start=-7.0)},
        {"angles": 2 * _half_turn(180)},  # a full turn sees everything twice
        {"angles": 2 * _half_turn(91)},
        {"angles": np.random.default_rng(0).permutation(_half_turn(90))},
        # one half of the range twice as densely as the other
        {"angles": np.r_[_half_turn(160)[:80], _half_turn(80)[40:]]},
    ],
)
def test_gaussian_comes_back(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"angles": _half_turn(90), "n_detectors": 66} | changes
    assert _error(ParallelBeam(**fields)) < 0.01


def test_error_falls_with_views() -> None:
    errors = [_error(ParallelBeam(_half_turn(n), n_detectors=66)) for n in (5, 10, 20, 40)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 4 * errors[3]


def test_values_are_per_mm() -> None:
    finer = ImageGrid(GRID.shape, pixel_size=0.5)
    scan = ParallelBeam(_half_turn(90), n_detectors=132, detector_spacing=0.5)
    assert _error(scan, grid=finer) < 0.01


def test_mean_is_right() -> None:
    # a sampled |f| would lose the mean; the sum of the image is the mean of the views' sums
    scan = ParallelBeam(_half_turn(60), n_detectors=66)
    for window in (ramp, hann):
        image = filtered_backprojection(BLOB.sinogram(scan), GRID, scan, window)
        assert float(image.sum() / BLOB.image(GRID).sum()) == pytest.approx(1, abs=0.005)


def _shepp_logan(n: int) -> tuple[Tensor, ImageGrid, ParallelBeam, Tensor]:
    image = torch.from_numpy(resize(shepp_logan_phantom(), (n, n), anti_aliasing=True))
    grid = ImageGrid((n, n))
    scan = ParallelBeam(_half_turn(60), n_detectors=2 * round(0.75 * n) + 1)
    clean = projector(grid, scan)(image)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 1e-2
    return image, grid, scan, clean + noise * clean.square().mean().sqrt()


@pytest.mark.parametrize("window", [ramp, hann])
def test_is_scikit_image_where_pixels_coincide(window: Window) -> None:
    # odd sizes: there scikit-image's centre pixel is the centre
    image, grid, scan, sinogram = _shepp_logan(95)
    ours = filtered_backprojection(sinogram, grid, scan, window).numpy()
    theirs = iradon(
        sinogram.numpy().T,
        np.rad2deg(scan.angles),
        output_size=95,
        filter_name=window.__name__,  # type: ignore[attr-defined]
        circle=False,
    )
    # its Hann window is one sample off the symmetric one
    assert np.abs(ours - theirs).max() < (1e-10 if window is ramp else 2e-3)
    rms_ours = np.sqrt(np.mean((ours - image.numpy()) ** 2))
    assert rms_ours < 1.001 * np.sqrt(np.mean((theirs - image.numpy()) ** 2))


def test_a_missing_wedge_is_not_filled() -> None:
    whole = ParallelBeam(_half_turn(60), n_detectors=66)
    part = ParallelBeam(whole.angles[:40], n_detectors=66)
    sinogram = BLOB.sinogram(whole)
    zeroed = torch.cat([sinogram[:40], torch.zeros(20, 66)])
    torch.testing.assert_close(
        filtered_backprojection(sinogram[:40], GRID, part),
        filtered_backprojection(zeroed, GRID, whole),
    )


def test_batches_dtypes_and_devices(device: str) -> None:
    scan = ParallelBeam(_half_turn(7), n_detectors=66)
    sinogram = torch.randn(2, 3, 7, 66, generator=torch.Generator().manual_seed(0)).to(device)
    images = filtered_backprojection(sinogram, GRID, scan)
    assert images.shape == (2, 3, *GRID.shape)
    assert images.dtype == torch.float32
    assert images.device.type == device
    one = filtered_backprojection(sinogram[1, 2].double(), GRID, scan)
    torch.testing.assert_close(images[1, 2].double(), one, rtol=1e-4, atol=1e-4)


def test_one_view_is_enough_to_run() -> None:
    scan = ParallelBeam((0.3,), n_detectors=66)
    assert torch.isfinite(filtered_backprojection(BLOB.sinogram(scan), GRID, scan)).all()


def test_other_shapes_are_refused() -> None:
    scan = ParallelBeam((0.3, 0.4), n_detectors=9)
    with pytest.raises(ValueError, match=r"expected shape \[..., 2, 9\].*got \[9, 2\]"):
        filtered_backprojection(torch.zeros(9, 2), GRID, scan)


def test_method_is_the_function() -> None:
    scan = ParallelBeam(_half_turn(12), n_detectors=66)
    sinogram = BLOB.sinogram(scan)
    problem = Problem(
        sinogram=sinogram,
        noise_std=torch.ones_like(sinogram),
        projector=projector(GRID, scan),
        grid=GRID,
        scan=scan,
    )
    method: Method = fbp(window=ramp)
    steps: list[tuple[int, int]] = []
    estimate = method.solve(problem, seed=3, progress=lambda *step: steps.append(step))
    assert torch.equal(estimate.mean, filtered_backprojection(sinogram, GRID, scan, ramp))
    assert estimate.std is None
    assert estimate.samples is None
    assert method.name == "fbp"
    assert method.n_samples is None
    assert fbp().settings() == {"window": "hann"}
    assert steps == [(1, 1)]
