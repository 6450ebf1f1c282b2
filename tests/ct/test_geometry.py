from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.geometry import ImageGrid, ParallelBeam, geometry_from_json, geometry_to_json

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
        (_changed(scan={"kind": "helical"}), "kind parallel-beam, got 'helical'"),
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
