"""Shepp–Logan phantoms: the known values, a peer's picture, and seeded changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

import ct
from ct.data.phantoms import shepp_logan
from ct.geometry import ImageGrid, ParallelBeam

GRID = ImageGrid((128, 128), 2.0)


def _at(image: torch.Tensor, x: float, y: float) -> float:
    """The value at a place in half sides."""
    rows, columns = image.shape
    return float(image[round((1 - y) * rows / 2 - 0.5), round((1 + x) * columns / 2 - 0.5)])


@pytest.mark.parametrize(
    ("original", "expected"),
    [(False, [0.0, 1.0, 0.2, 0.0, 0.3, 0.2]), (True, [0.0, 2.0, 1.02, 1.0, 1.03, 1.02])],
)
def test_known_values_at_known_places(original: bool, expected: list[float]) -> None:
    image = shepp_logan(GRID, original=original).image(GRID)
    places = [(0.9, 0.9), (0.0, 0.9), (0.0, -0.3), (0.25, 0.05), (0.0, 0.4), (0.4, -0.4)]
    assert [_at(image, x, y) for x, y in places] == pytest.approx(expected, abs=1e-12)


def test_agrees_with_scikit_images_picture() -> None:
    picture = resize(shepp_logan_phantom(), GRID.shape, anti_aliasing=True)
    image = shepp_logan(GRID).image(GRID).numpy()
    assert np.linalg.norm(image - picture) < 0.15 * np.linalg.norm(picture)
    assert np.linalg.norm(image[::-1] - picture) > 0.3 * np.linalg.norm(picture)
    assert np.linalg.norm(image[:, ::-1] - picture) > 0.2 * np.linalg.norm(picture)


def test_fills_the_shorter_side_of_any_grid() -> None:
    wide, tall = ImageGrid((64, 96), 0.5), ImageGrid((96, 64), 0.5)
    square = ImageGrid((64, 64), 0.5)
    inner = shepp_logan(square).image(square)
    torch.testing.assert_close(shepp_logan(wide).image(wide)[:, 16:-16], inner)
    torch.testing.assert_close(shepp_logan(tall).image(tall)[16:-16], inner)


def test_sinogram_holds_the_mass_in_every_view() -> None:
    phantom = shepp_logan(GRID, seed=3)
    mass = sum(e.value * math.pi * e.half_width * e.half_height for e in phantom.ellipses)
    scan = ParallelBeam((0.0, 1.0, 2.0), n_detectors=1500, detector_spacing=0.25)
    sums = phantom.sinogram(scan).sum(dim=1) * scan.detector_spacing
    assert sums.tolist() == pytest.approx([mass] * 3, rel=1e-3)


def test_changes_are_seeded_and_of_the_size_stated() -> None:
    assert shepp_logan(GRID, seed=1) == shepp_logan(GRID, seed=1)
    assert shepp_logan(GRID, seed=1) != shepp_logan(GRID, seed=2)
    assert shepp_logan(GRID, seed=1) != shepp_logan(GRID, seed=1, index=1)
    plain = shepp_logan(GRID).ellipses
    changed = [shepp_logan(GRID, seed=0, index=i).ellipses for i in range(200)]
    value = torch.tensor([
        [e.value - p.value for e, p in zip(c, plain, strict=True)] for c in changed
    ])
    tilt = torch.tensor([[e.tilt - p.tilt for e, p in zip(c, plain, strict=True)] for c in changed])
    for changes in (value, tilt[:, 2:]):
        assert float(changes.std()) == pytest.approx(1 / 20, rel=0.06)  # 1,600 draws at least
        assert abs(float(changes.mean())) < 0.005
    # semi-axes and centres of the ventricles, in half sides, where nothing was shrunk
    half = 128.0
    for name in ("half_width", "half_height", "x", "y"):
        moved = torch.tensor([
            (getattr(c[3], name) - getattr(plain[3], name)) / half for c in changed
        ])
        assert float(moved.std()) == pytest.approx(1 / 20, rel=0.15)


def test_skulls_stay_closed_and_within_the_grid() -> None:
    for index in range(40):
        phantom = shepp_logan(GRID, seed=5, index=index)
        image = phantom.image(GRID)
        outside = shepp_logan(GRID, seed=5, index=index).ellipses[0]
        assert outside.tilt == pytest.approx(phantom.ellipses[1].tilt)
        mass = sum(e.value * math.pi * e.half_width * e.half_height for e in phantom.ellipses)
        assert float(image.sum()) * GRID.pixel_size**2 == pytest.approx(mass, rel=2e-3)
        assert min(min(e.half_width, e.half_height) for e in phantom.ellipses) > 0


def test_name_is_public() -> None:
    assert ct.shepp_logan is shepp_logan
