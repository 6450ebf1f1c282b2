"""Laws of the classical methods in every geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ct
from ct.geometry import Scan, with_angles
from ct.problem import Method
from tests.reference.gaussian_phantom import GaussianBlob

GRID = ct.ImageGrid(shape=(24, 24), pixel_size=0.8)
BLOB = GaussianBlob(x=2.0, y=-1.5, a=3.0, b=2.0, tilt=0.4)
TURN, HALF = 2 * math.pi * np.arange(40) / 40, math.pi * np.arange(30) / 30
FAN = {"source_origin": 60.0, "source_detector": 90.0, "detector_spacing": 1.2}
SCANS = {
    "parallel": ct.ParallelBeam(HALF, 36, 0.8),
    "parallel, off the middle": ct.ParallelBeam(TURN, 26, 0.8, center=8.2),
    "flat fan": ct.FanBeam(TURN, 36, **FAN),
    "arc, source off the axis": ct.FanBeam(TURN, 40, **FAN, source_offset=1.5, curved=True),
    "short scan": ct.FanBeam(np.linspace(0.2, 0.2 + math.pi + 0.6, 30), 36, **FAN),
    "fan, off the middle": ct.FanBeam(TURN, 26, **FAN, center=8.2),
}
METHODS = [ct.fbp(), ct.sirt(iterations=30), ct.cgls()]
NOISE = 0.02
every_scan = pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
every_method = pytest.mark.parametrize("method", METHODS, ids=["fbp", "sirt", "cgls"])


def _sinogram(scan: Scan, seed: int = 0) -> Tensor:
    clean = BLOB.sinogram(scan)
    return clean + NOISE * torch.randn(
        clean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@every_method
@every_scan
def test_a_blob_comes_back(scan: Scan, method: Method) -> None:
    image = ct.reconstruct(_sinogram(scan), scan, GRID, method=method, noise_std=NOISE).mean
    truth = BLOB.image(GRID)
    assert float((image - truth).norm() / truth.norm()) < 0.12
    assert float(image.sum() / truth.sum()) == pytest.approx(1, abs=0.03)


@every_method
@every_scan
def test_turning_the_scan_turns_the_image(scan: Scan, method: Method) -> None:
    quarter = with_angles(scan, [angle + math.pi / 2 for angle in scan.angles])
    sinogram = _sinogram(scan)
    image, turned = (
        ct.reconstruct(sinogram, one, GRID, method=method, noise_std=NOISE).mean
        for one in (scan, quarter)
    )
    torch.testing.assert_close(turned, image.rot90(), rtol=0, atol=1e-7)


@every_method
@every_scan
def test_slices_and_devices_do_not_matter(scan: Scan, method: Method, device: str) -> None:
    stack = torch.stack([_sinogram(scan, seed) * (seed + 1) for seed in range(3)])
    noise = NOISE * torch.tensor([1.0, 2.0, 3.0]).double()[:, None, None].expand_as(stack).clone()
    noise[1, 4] = 5 * NOISE
    noise[2, :, 7] = math.inf
    together = ct.reconstruct(
        stack.to(device), scan, GRID, method=method, noise_std=noise.to(device)
    ).mean
    for index in range(3):
        alone = ct.reconstruct(stack[index], scan, GRID, method=method, noise_std=noise[index])
        torch.testing.assert_close(together[index].cpu(), alone.mean, rtol=0, atol=1e-6)


@every_method
@every_scan
def test_single_precision_is_enough(scan: Scan, method: Method) -> None:
    sinogram = _sinogram(scan)
    images = [
        ct.reconstruct(sinogram.to(dtype), scan, GRID, method=method, noise_std=NOISE).mean
        for dtype in (torch.float32, torch.float64)
    ]
    lost = (images[0].double() - images[1]).norm()
    # conjugate gradients forget in single precision, which costs an iteration, and no accuracy
    assert float(lost) < 0.2 * float((images[1] - BLOB.image(GRID)).norm())


@every_method
def test_a_sinogram_of_another_scan_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="expected 30 views"):
        ct.reconstruct(torch.ones(36, 30), SCANS["parallel"], GRID, method=method)
