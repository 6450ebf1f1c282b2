"""Filtered back-projection of fans and of detectors off the middle, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ct.classical.filtered_backprojection import filtered_backprojection
from ct.classical.ray_weights import evened, ray_weights
from ct.classical.windows import WINDOWS, hann, ramp
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from tests.reference.gaussian_phantom import GaussianBlob

BLOB = GaussianBlob(x=6.0, y=-4.0, a=5.0, b=3.5, tilt=0.4)
GRID = ImageGrid(shape=(41, 47))
FAN = {
    "n_detectors": 150,
    "source_origin": 80.0,
    "source_detector": 160.0,
    "detector_spacing": 1.0,
}
SHORT = math.pi + 2 * math.atan(75 / 160)


def _views(n: int, length: float = 2 * math.pi, start: float = 0.3) -> np.ndarray:
    return start + length * np.arange(n) / n


def _error(scan: Scan, grid: ImageGrid = GRID, blob: GaussianBlob = BLOB) -> float:
    image = filtered_backprojection(blob.sinogram(scan), grid, scan, ramp)
    return float((image - blob.image(grid)).norm() / blob.image(grid).norm())


@pytest.mark.parametrize("curved", [False, True], ids=["flat", "curved"])
@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"angles": _views(120)}, 0.003),
        ({"angles": -_views(120)}, 0.003),
        ({"angles": np.random.default_rng(0).permutation(_views(120))}, 0.003),
        ({"angles": _views(120), "source_offset": 9.0}, 0.004),
        ({"angles": _views(120), "source_offset": -4.0, "center": 70.0}, 0.004),
        ({"angles": _views(120), "center": 80.3}, 0.004),
        ({"angles": _views(80, SHORT)}, 0.003),
        ({"angles": _views(80, SHORT + 0.3), "source_offset": 4.0}, 0.005),
        ({"angles": _views(80, SHORT + 0.3)[::-1], "center": 70.0}, 0.005),
        ({"angles": _views(100, 1.5 * math.pi)}, 0.003),
        ({"angles": _views(150, 3 * math.pi)}, 0.003),
        ({"angles": np.r_[_views(160)[:80], _views(80)[40:]]}, 0.004),
        # views are missing in two places, but no line is: each is seen from the other side
        ({"angles": np.delete(_views(180), np.r_[20:30, 75:85])}, 0.003),
        # the object's shadow leaves the detector on one side
        ({"angles": _views(120), "n_detectors": 90, "center": 15.0}, 0.003),
        ({"angles": _views(120), "n_detectors": 90, "center": 74.0}, 0.003),
        ({"angles": _views(120), "n_detectors": 90, "source_offset": 14.0}, 0.004),
        ({"angles": _views(120), "n_detectors": 300, "detector_spacing": 0.5}, 0.002),
        ({"angles": _views(120), "source_detector": 80.0}, 0.03),
        ({"angles": _views(120), "source_origin": 1e5, "source_detector": 1e5}, 0.008),
    ],
)
def test_gaussian_comes_back(changes: dict[str, Any], bound: float, curved: bool) -> None:
    assert _error(FanBeam(**{**FAN, "curved": curved, **changes})) < bound


@pytest.mark.parametrize("center", [8.0, 35.0])
def test_a_full_turn_of_parallel_beams_sees_beyond_a_detector_off_the_middle(center: float) -> None:
    scan = ParallelBeam(_views(180), n_detectors=44, center=center)
    assert _error(scan) < 0.008
    # half a turn does not
    assert _error(ParallelBeam(_views(90, math.pi), n_detectors=44, center=center)) > 0.05


def test_more_than_half_a_turn_counts_no_line_twice() -> None:
    assert _error(ParallelBeam(_views(120, 1.2 * math.pi), 66, center=30.0)) < 0.008


def test_error_falls_with_views_and_bins() -> None:
    by_views = [_error(FanBeam(_views(n), **FAN)) for n in (10, 20, 40)]  # type: ignore[arg-type]
    assert by_views[0] > 2 * by_views[1] > 4 * by_views[2]
    by_bins = [
        _error(FanBeam(**{**FAN, "angles": _views(180), "n_detectors": 150 * k // 4,
                          "detector_spacing": 4 / k}))
        for k in (1, 2, 4)
    ]  # fmt: skip
    assert by_bins[0] > 3 * by_bins[1] > 9 * by_bins[2]


@pytest.mark.parametrize("name", list(WINDOWS))
@pytest.mark.parametrize(
    "scan",
    [
        ParallelBeam(_views(90, math.pi), 200, 0.5),
        FanBeam(_views(180), 300, 80.0, 160.0, 0.7),
        FanBeam(_views(120, SHORT + 0.6), 300, 80.0, 160.0, 0.7, source_offset=2.0, curved=True),
    ],
    ids=["parallel", "fan", "short arc"],
)
def test_a_disc_comes_back_at_its_value(scan: Scan, name: str) -> None:
    radius, x, y = 9.0, 5.0, -3.0
    rays = scan.rays
    cos, sin = rays.direction[..., 1], -rays.direction[..., 0]
    chord = 2 * (radius**2 - (rays.distance - x * cos - y * sin) ** 2).clamp(min=0).sqrt()
    grid = ImageGrid((60, 60), pixel_size=0.6)
    image = filtered_backprojection(0.02 * chord, grid, scan, WINDOWS[name])
    away = torch.hypot(grid.x_positions - x, grid.y_positions[:, None] - y)
    assert float(image[away < radius - 2].mean()) == pytest.approx(0.02, rel=0.004)
    assert abs(float(image[(away > radius + 2) & (away < 20)].mean())) < 0.02 * 0.01


def test_windows_keep_what_they_say() -> None:
    frequency = torch.linspace(0, 1, 101, dtype=torch.float64)
    curves = {name: window(frequency) for name, window in WINDOWS.items()}
    for curve in curves.values():
        assert float(curve[0]) == 1
    middle = slice(1, 100)
    for smoother, sharper in [
        ("hann", "cosine"),
        ("cosine", "shepp-logan"),
        ("shepp-logan", "ramp"),
    ]:
        assert bool((curves[smoother][middle] < curves[sharper][middle]).all())
    assert float(curves["shepp-logan"][-1]) == pytest.approx(2 / math.pi)
    assert float(curves["cosine"][50]) == pytest.approx(math.sqrt(0.5))


def test_turning_the_scan_turns_the_image() -> None:
    scan = FanBeam(_views(60, SHORT + 0.2), source_offset=3.0, **FAN)  # type: ignore[arg-type]
    turned = FanBeam(_views(60, SHORT + 0.2) + math.pi / 2, source_offset=3.0, **FAN)  # type: ignore[arg-type]
    square = ImageGrid((40, 40))
    sinogram = BLOB.sinogram(scan)
    image = filtered_backprojection(sinogram, square, scan)
    torch.testing.assert_close(
        filtered_backprojection(sinogram, square, turned), image.rot90(), rtol=0, atol=1e-9
    )


def test_moving_the_object_moves_the_image() -> None:
    scan = FanBeam(_views(180), **FAN)  # type: ignore[arg-type]
    moved = GaussianBlob(x=BLOB.x - 3, y=BLOB.y + 5, a=BLOB.a, b=BLOB.b, tilt=BLOB.tilt)
    first, second = (
        filtered_backprojection(blob.sinogram(scan), GRID, scan, ramp) for blob in (BLOB, moved)
    )
    torch.testing.assert_close(second[:-5, :-3], first[5:, 3:], rtol=0, atol=0.002)


def test_is_linear() -> None:
    scan = FanBeam(_views(50, SHORT), **FAN)  # type: ignore[arg-type]
    one, two = torch.randn(2, 50, 150, generator=torch.Generator().manual_seed(0)).double()
    parts = [filtered_backprojection(part, GRID, scan) for part in (one, two, 3 * one - two)]
    torch.testing.assert_close(parts[2], 3 * parts[0] - parts[1])


def test_less_than_a_short_scan_is_finite_and_keeps_known_lines() -> None:
    scan = FanBeam(_views(90, math.pi / 2), **FAN)  # type: ignore[arg-type]
    weights = ray_weights(scan)
    # nothing is seen twice but near the fan's edges: the middle ray counts whole
    torch.testing.assert_close(weights[:, 75], torch.full((90,), math.pi / 180).double())
    assert 0.1 < _error(scan) < 1


def test_each_line_counts_half_a_turn_in_all() -> None:
    """The two rays along one line share its weight."""
    n = 360
    scan = FanBeam(
        _views(n, start=0.0), n_detectors=81, source_origin=80.0, source_detector=80.0,
        detector_spacing=80 * math.pi / n, center=30.0, curved=True,
    )  # fmt: skip
    weights = ray_weights(scan)
    # γ_k = (k − 30) π/n: the twin of view v is v + n/2 − (k − 30), bin 60 − k
    for view, k in [(0, 12), (5, 30), (100, 47), (359, 60)]:
        twin = weights[(view + n // 2 - (k - 30)) % n, 60 - k]
        assert float(weights[view, k] + twin) == pytest.approx(2 * math.pi / n)
    torch.testing.assert_close(weights[:, 61:], torch.full((n, 20), 2 * math.pi / n).double())


def test_a_detector_off_the_middle_is_evened() -> None:
    scan = FanBeam((0.0,), n_detectors=90, center=15.0, source_origin=80.0, source_detector=160.0)
    whole, (before, after) = evened(scan)
    assert (before, after) == (59, 0)
    torch.testing.assert_close(whole.rays.distance[:, before:], scan.rays.distance)
    distance = whole.rays.distance[0]
    assert float(distance[0] + distance[-1]) == pytest.approx(0, abs=1e-9)
    assert evened(ParallelBeam((0.0,), 7))[1] == (0, 0)


def test_random_angles_are_no_missing_wedges() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * math.pi, 360)
    assert _error(FanBeam(angles, **FAN)) < 0.006  # type: ignore[arg-type]


def test_a_source_in_the_image_is_refused() -> None:
    scan = FanBeam((0.0,), 5, source_origin=10.0, source_detector=20.0)
    with pytest.raises(ValueError, match="expected corners nearer"):
        filtered_backprojection(torch.zeros(1, 5), GRID, scan, hann)
