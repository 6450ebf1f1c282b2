"""Ellipses: closed forms against sampling, areas, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ct
from ct.data.ellipses import Ellipse, EllipsePhantom, disc
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from tests.reference.naive_phantom import sampled_image, sampled_integrals

GRID = ImageGrid((14, 18), 0.5)
SCANS: dict[str, Scan] = {
    "parallel": ParallelBeam((0.0, 0.7, 2.9), 23, 0.6, center=9.3),
    "flat fan": FanBeam((0.2, 2.0, 5.5), 23, 30.0, 50.0, 1.0, center=12.2, source_offset=0.8),
    "curved fan": FanBeam((0.2, 2.0, 5.5), 23, 30.0, 50.0, 1.0, center=9.0, curved=True),
}
# built in the tests: what checks their signatures draws random numbers of its own
shapes = st.lists(
    st.fixed_dictionaries({
        "value": st.floats(-2, 2),
        "half_width": st.floats(0.3, 3),
        "half_height": st.floats(0.3, 3),
        "x": st.floats(-3, 3),
        "y": st.floats(-3, 3),
        "tilt": st.floats(-4, 4),
    }),
    min_size=1,
    max_size=3,
)


def _phantom(fields: list[dict[str, float]]) -> EllipsePhantom:
    return EllipsePhantom(tuple(Ellipse(**each) for each in fields))


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
@given(fields=shapes)
def test_line_integrals_equal_sampled_ones(scan: Scan, fields: list[dict[str, float]]) -> None:
    phantom = _phantom(fields)
    step = 0.02
    sampled = sampled_integrals(phantom, scan.rays, step=step, radius=8.0)
    # a chord's sampled length is off by a step, half a step at either end
    worst = step * sum(abs(ellipse.value) for ellipse in phantom.ellipses) + 1e-9
    assert float((phantom.sinogram(scan) - sampled).abs().max()) <= worst


@settings(max_examples=10)
@given(fields=shapes)
def test_image_equals_a_sampled_one(fields: list[dict[str, float]]) -> None:
    phantom = _phantom(fields)
    error = (
        phantom.image(GRID, lines_per_pixel=24) - sampled_image(phantom, GRID, points=24)
    ).abs()
    worst = sum(abs(ellipse.value) for ellipse in phantom.ellipses)
    assert float(error.max()) <= worst * 2 / 24


def test_image_converges_to_the_area_with_the_square_of_the_lines() -> None:
    phantom = EllipsePhantom((Ellipse(half_width=3.0, half_height=1.5, x=0.3, y=-0.2, tilt=0.5),))
    area = math.pi * 3.0 * 1.5
    errors = [
        abs(float(phantom.image(GRID, lines_per_pixel=n).sum()) * GRID.pixel_size**2 / area - 1)
        for n in (4, 64)
    ]
    assert errors[0] < 2e-3
    assert errors[1] < errors[0] / 16  # at an ellipse's top the rule is of order 3/2, not 2


def test_what_leaves_the_grid_is_cut_off() -> None:
    half = EllipsePhantom((disc(2.0, x=4.5),)).image(GRID, lines_per_pixel=64)
    assert float(half.sum()) * GRID.pixel_size**2 == pytest.approx(2 * math.pi, rel=1e-3)
    assert not EllipsePhantom((disc(2.0, y=40.0),)).image(GRID).any()


def test_bins_with_width_see_the_mean_over_it() -> None:
    # over ±1 mm around its middle a disc of radius 2 has the mean chord √3 + 2π/3
    phantom = EllipsePhantom((disc(2.0),))
    scan = ParallelBeam((0.4,), n_detectors=3, detector_spacing=2.0)
    wide = phantom.sinogram(scan, samples_per_bin=200)
    assert float(wide[0, 1]) == pytest.approx(math.sqrt(3) + 2 * math.pi / 3, rel=1e-4)
    assert float(phantom.sinogram(scan)[0, 1]) == pytest.approx(4)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_samples_lie_evenly_within_their_bin(scan: Scan) -> None:
    phantom = EllipsePhantom((Ellipse(half_width=2.0, half_height=1.0, x=0.5, tilt=0.3),))
    fields = dict(vars(scan), detector_spacing=scan.detector_spacing / 3)
    shifted = [
        type(scan)(**{**fields, "n_detectors": 1, "center": 3 * scan.center - 3 * 12 - j})
        for j in (-1, 0, 1)
    ]
    expected = torch.stack([phantom.sinogram(part)[:, 0] for part in shifted]).mean(dim=0)
    torch.testing.assert_close(phantom.sinogram(scan, samples_per_bin=3)[:, 12], expected)


def test_values_scale() -> None:
    phantom = EllipsePhantom((disc(2.0, value=0.5), disc(1.0, x=1.0, value=-0.1)))
    scan = SCANS["flat fan"]
    torch.testing.assert_close(phantom.scaled(0.02).sinogram(scan), 0.02 * phantom.sinogram(scan))


@pytest.mark.parametrize(
    "fields",
    [{"half_width": 0.0}, {"half_height": -1.0}, {"x": math.nan}, {"value": math.inf}],
)
def test_impossible_ellipses_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Ellipse"):
        Ellipse(**{"half_width": 1.0, "half_height": 1.0, **fields})


def test_a_source_within_the_phantom_is_refused() -> None:
    near = FanBeam((0.0,), 3, source_origin=3.0, source_detector=9.0)
    with pytest.raises(ValueError, match="source outside the phantom"):
        EllipsePhantom((disc(1.0, x=2.5),)).sinogram(near)


@pytest.mark.parametrize("name", ["samples_per_bin", "lines_per_pixel"])
def test_impossible_samples_are_refused(name: str) -> None:
    phantom = EllipsePhantom((disc(1.0),))
    with pytest.raises(ValueError, match=name):
        if name == "samples_per_bin":
            phantom.sinogram(SCANS["parallel"], samples_per_bin=0)
        else:
            phantom.image(GRID, lines_per_pixel=0)


def test_names_are_public() -> None:
    assert (ct.Ellipse, ct.EllipsePhantom) == (Ellipse, EllipsePhantom)
