from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, check_fits, field_of_view
from ct.geometry_json import geometry_from_json, geometry_to_json

sizes = st.floats(1e-3, 1e3)
# arguments, not objects: the type checker draws from `random`, which strategies may not
grids = st.fixed_dictionaries({
    "shape": st.tuples(st.integers(1, 600), st.integers(1, 600)),
    "pixel_size": sizes,
})
scans = st.fixed_dictionaries({
    "angles": st.lists(st.floats(-4 * math.pi, 4 * math.pi), min_size=1, max_size=5),
    "n_detectors": st.integers(1, 900),
    "detector_spacing": sizes,
    "center": st.none() | st.floats(-100, 1000),
})


@given(grid_fields=grids, scan_fields=scans)
def test_repr_is_code(grid_fields: dict[str, Any], scan_fields: dict[str, Any]) -> None:
    grid, scan = ImageGrid(**grid_fields), ParallelBeam(**scan_fields)
    names = {"ImageGrid": ImageGrid, "ParallelBeam": ParallelBeam}
    assert eval(repr(grid), names) == grid  # noqa: S307
    assert eval(repr(scan), names) == scan  # noqa: S307


@given(grid_fields=grids, scan_fields=scans)
def test_json_gives_back_the_same_numbers(
    grid_fields: dict[str, Any], scan_fields: dict[str, Any]
) -> None:
    grid, scan = ImageGrid(**grid_fields), ParallelBeam(**scan_fields)
    again = geometry_from_json(geometry_to_json(grid, scan))
    assert again == (grid, scan)
    assert hash(again) == hash((grid, scan))


def test_angles_may_be_any_array_and_centre_may_be_left_out() -> None:
    angles = np.linspace(0, 3, 4)
    scans = {
        ParallelBeam(angles=angles, n_detectors=8),
        ParallelBeam(angles=list(angles), n_detectors=8, center=None),
        ParallelBeam(angles=torch.from_numpy(angles), n_detectors=8, center=3.5),
        ParallelBeam(angles=tuple(angles), n_detectors=8, detector_spacing=1, center=3.5),
    }
    assert len(scans) == 1


def test_rows_go_down_and_columns_go_right() -> None:
    grid = ImageGrid(shape=(4, 3), pixel_size=2.0)
    assert grid.y_positions.tolist() == [3.0, 1.0, -1.0, -3.0]
    assert grid.x_positions.tolist() == [-2.0, 0.0, 2.0]


def test_the_origin_projects_to_the_centre() -> None:
    scan = ParallelBeam(angles=(0.0,), n_detectors=5, detector_spacing=0.5, center=1.25)
    assert scan.detector_positions.tolist() == [-0.625, -0.125, 0.375, 0.875, 1.375]


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("shape", "pixel_size"),
    [
        ((0, 4), 1.0),
        ((4, -1), 1.0),
        ((4,), 1.0),
        ((4, 4, 4), 1.0),
        ((4.5, 4), 1.0),
        (512, 1.0),
        ((4, 4), 0.0),
        ((4, 4), math.nan),
    ],
)
def test_impossible_grids_are_refused(shape: object, pixel_size: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        ImageGrid(shape=shape, pixel_size=pixel_size)  # type: ignore[arg-type]


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"angles": ()}, "angles"),
        ({"angles": (0.0, math.nan)}, "angles: expected finite"),
        ({"angles": ((0.0,), (1.0,))}, "angles: expected 1 dimensions"),
        ({"angles": np.arange(180.0)}, "radians"),
        ({"n_detectors": 0}, "n_detectors"),
        ({"n_detectors": 5.5}, "n_detectors"),
        ({"detector_spacing": 0.0}, "detector_spacing"),
        ({"detector_spacing": -1.0}, "detector_spacing"),
        ({"center": math.inf}, "center"),
        ({"center": "middle"}, "center"),
    ],
)
def test_impossible_scans_are_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ParallelBeam(**{"angles": (0.0, 1.0), "n_detectors": 5, **changed})  # type: ignore[arg-type]


def _changed(**changes: object) -> str:
    content = json.loads(geometry_to_json(ImageGrid((4, 4)), ParallelBeam((0.0,), 5)))
    return json.dumps(content | changes)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "JSON"),
        ("[1, 2]", "version 1"),
        ("{}", "version 1"),
        (_changed(version=2), "version 1, got 2"),
        (_changed(scan={"kind": "helical"}), "kind parallel-beam, fan-beam, got 'helical'"),
        (_changed(scan={"kind": ["parallel-beam"]}), "kind"),
        (_changed(scan={"kind": "parallel-beam", "angles": [0.0]}), "n_detectors"),
        (_changed(scan={"kind": "parallel-beam", "angles": [0.0], "n_detectors": 0}), "whole"),
        (_changed(grid={"shape": [4, 4], "colour": 1}), "colour"),
        (_changed(grid={"shape": [4]}), "shape"),
        (_changed(grid=7), "grid"),
    ],
)
def test_foreign_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        geometry_from_json(text)


fans = st.fixed_dictionaries({
    "angles": st.lists(st.floats(-4 * math.pi, 4 * math.pi), min_size=1, max_size=5),
    "n_detectors": st.integers(1, 40),
    "source_origin": st.floats(50, 60),
    "source_detector": st.floats(60, 100),
    "detector_spacing": st.floats(0.1, 2),
    "center": st.none() | st.floats(-5, 45),
    "source_offset": st.floats(-3, 3),
    "curved": st.booleans(),
})


@given(fields=fans)
def test_fan_is_pure_data(fields: dict[str, Any]) -> None:
    scan, grid = FanBeam(**fields), ImageGrid((3, 4), 0.5, slice_spacing=2.0)
    assert eval(repr(scan), {"FanBeam": FanBeam}) == scan  # noqa: S307
    assert geometry_from_json(geometry_to_json(grid, scan)) == (grid, scan)
    assert hash(scan) == hash(FanBeam(**fields))


@given(fields=fans)
def test_fan_rays_join_source_and_bin(fields: dict[str, Any]) -> None:
    scan = FanBeam(**fields)
    rays = scan.rays
    torch.testing.assert_close(
        rays.direction.norm(dim=-1), torch.ones(rays.direction.shape[:2]).double()
    )
    for view, theta in enumerate(scan.angles):
        u, v = np.array([np.cos(theta), np.sin(theta)]), np.array([-np.sin(theta), np.cos(theta)])
        source = scan.source_offset * u - scan.source_origin * v
        for k in range(scan.n_detectors):
            t = (k - scan.center) * scan.detector_spacing
            if scan.curved:  # the arc, walked from the foot of the perpendicular
                gamma = t / scan.source_detector
                place = source + scan.source_detector * (np.cos(gamma) * v + np.sin(gamma) * u)
            else:
                place = source + scan.source_detector * v + t * u
            along = (place - source) / np.linalg.norm(place - source)
            np.testing.assert_allclose(rays.direction[view, k], along, atol=1e-12)
            np.testing.assert_allclose(rays.point[view, k], source, atol=1e-9)


@given(angle=st.floats(-3, 3), center=st.floats(-2, 9))
def test_a_far_source_gives_parallel_rays(angle: float, center: float) -> None:
    parallel = ParallelBeam((angle,), 8, 0.5, center=center)
    far = FanBeam((angle,), 8, 1e9, 1e9, 0.5, center=center)
    torch.testing.assert_close(far.rays.direction, parallel.rays.direction, atol=1e-8, rtol=0)
    torch.testing.assert_close(far.rays.distance, parallel.rays.distance, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        parallel.rays.distance[0], parallel.detector_positions, atol=1e-12, rtol=0
    )


def test_field_of_view_is_what_the_nearer_side_sees() -> None:
    assert field_of_view(ParallelBeam((0.3, 2.0), 11)) == pytest.approx(5.0)
    assert field_of_view(ParallelBeam((0.3,), 11, center=12.0)) == 0.0
    fan = FanBeam((0.3, 1.0), 3, source_origin=3.0, source_detector=6.0, detector_spacing=8.0)
    assert field_of_view(fan) == pytest.approx(3.0 * math.sin(math.atan(8 / 6)))
    aside = FanBeam((0.3, 4.0), 3, 3.0, 6.0, 8.0, source_offset=1.0)
    assert field_of_view(aside) == pytest.approx(3.0 * 0.8 - 1.0 * 0.6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_detector": 40.0}, "expected at least source_origin"),
        ({"source_origin": 0.0}, "source_origin"),
        ({"source_origin": math.nan}, "source_origin"),
        ({"source_detector": -1.0}, "source_detector"),
        ({"source_offset": math.inf}, "source_offset"),
        ({"curved": 1}, "expected True or False"),
        ({"curved": True, "detector_spacing": 60.0}, "quarter turn"),
        ({"angles": [90.0]}, "numpy.deg2rad"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_impossible_fans_are_refused(changes: dict[str, Any], message: str) -> None:
    fields = {"angles": [0.0], "n_detectors": 7, "source_origin": 50.0, "source_detector": 100.0}
    with pytest.raises(ValueError, match=message):
        FanBeam(**{**fields, **changes})


def test_an_image_around_the_source_is_refused() -> None:
    scan = FanBeam([0.0], 4, source_origin=10.0, source_detector=20.0)
    check_fits(ImageGrid((14, 14)), scan)
    with pytest.raises(ValueError, match="corners nearer to the axis than the source"):
        check_fits(ImageGrid((15, 15)), scan)
