"""What every projector must see: known line integrals, shifts, rotations, peers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import radon
from torch import Tensor

from ct.data.ellipses import Ellipse, EllipsePhantom, disc
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.operator import Projector, projector
from ct.projectors.reference import reference_projector
from tests.reference.gaussian_phantom import GaussianBlob

Make = Callable[[ImageGrid, Scan], Projector]

BLOB = GaussianBlob(x=9.0, y=-6.0, a=7.0, b=4.0, tilt=0.4)
SHARP = EllipsePhantom((
    Ellipse(half_width=19.0, half_height=12.0, x=4.0, y=-3.0, tilt=0.5),
    disc(5.0, x=8.0, y=-5.0, value=-0.6),
    disc(2.0, x=-5.0, y=3.0, value=0.8),
))
HALF_TURN = np.pi * np.arange(7) / 7
WHOLE_TURN = 2 * np.pi * np.arange(7) / 7
SCANS: dict[str, Scan] = {
    "parallel": ParallelBeam(HALF_TURN, 45, 1.7, center=20.3),
    "flat": FanBeam(WHOLE_TURN, 45, 70.0, 110.0, 2.6, center=23.1, source_offset=2.2),
    "curved": FanBeam(WHOLE_TURN, 45, 70.0, 110.0, 2.4, center=21.2, curved=True),
}


@pytest.fixture(scope="module", params=[projector, reference_projector])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture(scope="module", params=SCANS.values(), ids=SCANS.keys())
def scan(request: pytest.FixtureRequest) -> Scan:
    made: Scan = request.param
    return made


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _errors(
    operator: Make, scan: Scan, image: Callable[[ImageGrid], Tensor], exact: Tensor
) -> list[float]:
    """Errors with 30, 60 and 120 pixels on 84 mm, of the same rays."""
    grids = [ImageGrid((n, n), 84 / n) for n in (30, 60, 120)]
    return [_relative(operator(grid, scan)(image(grid)), exact) for grid in grids]


def test_error_of_a_smooth_image_falls_with_the_square_of_the_pixel(scan: Scan) -> None:
    errors = _errors(projector, scan, BLOB.image, BLOB.sinogram(scan))
    assert errors[-1] < 1.5e-3
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.3)


def test_error_of_sharp_ellipses_falls_with_the_pixel(scan: Scan) -> None:
    # an edge is found to a fraction of a pixel, wherever it crosses a row
    errors = _errors(projector, scan, SHARP.image, SHARP.sinogram(scan))
    assert errors[-1] < 0.02
    assert math.log2(errors[0] / errors[2]) / 2 == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"center": 30.3},
        {"detector_spacing": 0.6, "n_detectors": 120},
        {"angles": [-5.0, 0.3, 4.0]},
    ],
)
def test_line_integrals_of_a_gaussian(make: Make, changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"angles": np.pi * np.arange(9) / 9, "n_detectors": 75} | changes
    grid, scan = ImageGrid(shape=(47, 61)), ParallelBeam(**fields)
    assert _relative(make(grid, scan)(BLOB.image(grid)), BLOB.sinogram(scan)) < 0.003


def test_line_integrals_of_a_gaussian_along_any_rays(make: Make, scan: Scan) -> None:
    grid = ImageGrid(shape=(47, 61))
    assert _relative(make(grid, scan)(BLOB.image(grid)), BLOB.sinogram(scan)) < 0.003


def test_line_integrals_are_in_mm(make: Make, scan: Scan) -> None:
    lengths = ("detector_spacing", "source_origin", "source_detector", "source_offset")
    halved = {name: value / 2 for name, value in vars(scan).items() if name in lengths}
    finer = type(scan)(**{**vars(scan), **halved})
    x = _draw(8, 8)
    expected = 0.5 * make(ImageGrid((8, 8)), scan)(x)
    torch.testing.assert_close(make(ImageGrid((8, 8), 0.5), finer)(x), expected)


def test_agrees_with_skimage_and_not_with_the_wrong_sign(make: Make) -> None:
    n = 61  # odd: scikit-image turns an image about pixel n // 2
    grid = ImageGrid(shape=(n, n))
    angles = np.pi * np.arange(12) / 12
    image = BLOB.image(grid) + 0.5 * GaussianBlob(x=-8, y=-9, a=3, b=6, tilt=0.0).image(grid)
    expected = torch.from_numpy(radon(image.numpy(), np.rad2deg(angles), circle=False).T)
    n_detectors = expected.shape[1]
    scan = ParallelBeam(angles=angles, n_detectors=n_detectors, center=n_detectors // 2)
    flipped = ParallelBeam(angles=-angles, n_detectors=n_detectors, center=n_detectors // 2)
    assert _relative(make(grid, scan)(image), expected) < 0.03
    assert _relative(make(grid, flipped)(image), expected) > 0.5


def test_a_shifted_centre_shifts_the_sinogram(make: Make, scan: Scan) -> None:
    grid = ImageGrid((9, 11), 4.0)
    there = type(scan)(**{**vars(scan), "center": scan.center + 2})
    x = _draw(9, 11)
    torch.testing.assert_close(make(grid, there)(x)[:, 2:], make(grid, scan)(x)[:, :-2])


@pytest.mark.parametrize("curved", [False, True])
def test_source_and_detector_move_aside_together(make: Make, curved: bool) -> None:
    grid = ImageGrid((9, 9), 2.0)
    x = torch.nn.functional.pad(_draw(5, 5), (2, 2, 2, 2))
    here = FanBeam((0.0, math.pi / 2), 21, 40.0, 60.0, 1.5, curved=curved)
    aside = FanBeam((0.0, math.pi / 2), 21, 40.0, 60.0, 1.5, source_offset=2.0, curved=curved)
    seen = make(grid, aside)(x)
    # at angle 0 aside is to the right, at π/2 it is up: one pixel of 2 mm each
    torch.testing.assert_close(seen[0], make(grid, here)(x.roll(-1, dims=1))[0])
    torch.testing.assert_close(seen[1], make(grid, here)(x.roll(1, dims=0))[1])


@pytest.mark.parametrize("gamma", [-0.2, 0.0, 0.3])
def test_flat_and_curved_detectors_see_the_same_rays(make: Make, gamma: float) -> None:
    grid, x = ImageGrid((9, 11), 2.0), _draw(9, 11)
    fields: dict[str, Any] = {"angles": WHOLE_TURN, "n_detectors": 1, "source_origin": 40.0}
    flat = FanBeam(**fields, source_detector=60.0, center=-60 * math.tan(gamma))
    arc = FanBeam(**fields, source_detector=60.0, center=-60 * gamma, curved=True)
    torch.testing.assert_close(make(grid, flat)(x), make(grid, arc)(x))


def test_a_far_source_sends_parallel_rays(make: Make) -> None:
    grid, x = ImageGrid((9, 11)), _draw(9, 11)
    near = ParallelBeam(WHOLE_TURN + 0.1, 20, 0.8, center=9.2)
    far = FanBeam(WHOLE_TURN + 0.1, 20, 1e7, 2e7, 1.6, center=9.2)
    torch.testing.assert_close(make(grid, far)(x), make(grid, near)(x), rtol=1e-4, atol=1e-4)


@given(angle=st.floats(-3, 3))
def test_turning_the_scan_turns_the_image(make: Make, angle: float) -> None:
    x = _draw(6, 6)

    def view(angle: float, x: Tensor) -> Tensor:
        return make(ImageGrid((6, 6)), ParallelBeam((angle,), n_detectors=9))(x)[0]

    # π/4 is where a view changes from row steps to column steps; both sides are approximations
    if abs(math.remainder(angle - math.pi / 4, math.pi / 2)) > 1e-9:
        clockwise = torch.rot90(x, k=-1)
        torch.testing.assert_close(view(angle + math.pi / 2, x), view(angle, clockwise))
        torch.testing.assert_close(view(angle + math.pi, x), view(angle, x).flip(0))


@pytest.mark.parametrize("curved", [False, True])
@given(angle=st.floats(-3, 3))
def test_turning_a_fan_turns_the_image(make: Make, curved: bool, angle: float) -> None:
    x = _draw(6, 6)
    fan = FanBeam((angle,), 9, 8.0, 12.0, 1.3, center=3.7, source_offset=0.4, curved=curved)

    def view(turned: float, x: Tensor) -> Tensor:
        return make(ImageGrid((6, 6)), _with(fan, angles=(turned,)))(x)[0]

    right, up = fan.rays.direction.abs().unbind(-1)
    if float((right - up).abs().min()) > 1e-9:
        clockwise = torch.rot90(x, k=-1)
        torch.testing.assert_close(view(angle + math.pi / 2, x), view(angle, clockwise))


@given(angle=st.floats(-3, 3))
def test_a_fan_in_the_mirror(make: Make, angle: float) -> None:
    x = _draw(6, 5)
    fan = FanBeam((angle,), 9, 8.0, 12.0, 1.3, center=3.7, source_offset=0.4)
    mirrored = _with(fan, angles=(-angle,), center=8 - 3.7, source_offset=-0.4)
    grid = ImageGrid((6, 5))
    torch.testing.assert_close(make(grid, mirrored)(x).flip(-1), make(grid, fan)(x.flip(-1)))


def _with(fan: FanBeam, **changes: Any) -> FanBeam:
    return FanBeam(**{**vars(fan), **changes})
