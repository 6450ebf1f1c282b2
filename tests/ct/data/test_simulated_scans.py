"""The scans of simulations: they see all of the image, and bins can be divided."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.data.simulated_scans import bin_means, fan_scan, parallel_scan, with_divided_bins
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan, field_of_view


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    pixel_size=st.floats(0.1, 3),
    distance=st.floats(1.01, 6),
    magnification=st.floats(1, 4),
)
def test_a_fan_just_sees_the_image(
    rows: int, columns: int, pixel_size: float, distance: float, magnification: float
) -> None:
    grid = ImageGrid((rows, columns), pixel_size)
    near = distance * grid.radius
    scan = fan_scan(grid, views=3, source_origin=near, source_detector=magnification * near)
    assert scan.n_detectors == math.ceil(math.sqrt(2) * max(rows, columns)) + 1
    assert field_of_view(scan) == pytest.approx(grid.radius, rel=1e-5)
    assert field_of_view(scan) >= grid.radius


def test_default_distances_and_angles() -> None:
    fan = fan_scan(ImageGrid((30, 40), 0.5), views=4)
    assert (fan.source_origin, fan.source_detector) == (40.0, 60.0)
    assert fan.angles == pytest.approx([k * math.pi / 2 for k in range(4)])
    arc = parallel_scan(ImageGrid((4, 4)), views=3, arc=math.pi / 2)
    assert arc.angles == pytest.approx([0, math.pi / 6, math.pi / 3])


@pytest.mark.parametrize(
    "scan",
    [
        ParallelBeam((0.3, 1.0), 5, 0.7, center=1.2),
        FanBeam((0.3, 1.0), 5, 9.0, 12.0, 0.7, center=1.2, source_offset=0.4, curved=True),
    ],
)
def test_parts_of_bins_lie_around_their_middle(scan: Scan) -> None:
    finer = with_divided_bins(scan, 4)
    assert finer.detector_spacing == pytest.approx(scan.detector_spacing / 4)
    middles = bin_means(finer.detector_positions[None], 4)[0]
    torch.testing.assert_close(middles, scan.detector_positions)
    assert with_divided_bins(scan, 1) == scan
