"""The geometry that a user states, alone or over what a file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.geometry import FanBeam, ImageGrid, ParallelBeam
from tests.ct.data.scan_files import (
    PARAMETERS,
    VALUES,
    matlab,
)

FAN = {"source_origin": 40.0, "source_detector": 60.0}
GIVEN = {"angles": "0:360:12", "degrees": True}
FULL = tuple(np.deg2rad(np.arange(12) * 30.0).tolist())


@pytest.mark.parametrize(
    ("said", "grid", "scan"),
    [
        ({}, ImageGrid((9, 9)), ParallelBeam(FULL, 9)),
        ({"pixel_size": 0.5}, ImageGrid((9, 9), 0.5), ParallelBeam(FULL, 9, 0.5)),
        ({"detector_spacing": 0.5}, ImageGrid((9, 9), 0.5), ParallelBeam(FULL, 9, 0.5)),
        (
            {"detector_spacing": 0.5, "pixel_size": 0.25},
            ImageGrid((18, 18), 0.25, 0.5),
            ParallelBeam(FULL, 9, 0.5),
        ),
        (FAN, ImageGrid((9, 9), 1 / 1.5), FanBeam(FULL, 9, 40, 60)),
        (
            {**FAN, "detector_spacing": 0.3, "curved": True, "center": 3.5},
            ImageGrid((9, 9), 0.3 / 1.5),
            FanBeam(FULL, 9, 40, 60, 0.3, 3.5, curved=True),
        ),
        (
            {**FAN, "detector_spacing": 0.3, "pixel_size": 0.1, "image_size": 7},
            ImageGrid((7, 7), 0.1, 0.3 / 1.5),
            FanBeam(FULL, 9, 40, 60, 0.3),
        ),
        (
            {**FAN, "detector_spacing": 0.3, "pixel_size": 0.1},
            ImageGrid((18, 18), 0.1, 0.3 / 1.5),
            FanBeam(FULL, 9, 40, 60, 0.3),
        ),
    ],
)
def test_geometry_by_options(
    tmp_path: Path, said: dict[str, Any], grid: ImageGrid, scan: ParallelBeam | FanBeam
) -> None:
    np.save(tmp_path / "s.npy", VALUES[0] / 1000.0)
    found = open_scan(tmp_path / "s.npy", ScanOptions(**GIVEN, **said)).geometry()
    assert found[0].shape == grid.shape
    assert found[0].pixel_size == pytest.approx(grid.pixel_size)
    assert found[0].slice_spacing == pytest.approx(grid.slice_spacing)
    assert found[1] == scan


def test_options_change_what_a_file_says_of_its_fan(tmp_path: Path) -> None:
    struct = {"CtData": {"sinogram": VALUES[0] / 1000.0, "parameters": PARAMETERS}}
    path = matlab(tmp_path / "scan", struct)
    grid, scan = open_scan(path, ScanOptions(center=4.4, pixel_size=0.1)).geometry()
    assert (grid.shape, grid.pixel_size) == ((18, 18), pytest.approx(0.1))
    assert isinstance(scan, FanBeam)
    assert (scan.center, scan.detector_spacing) == (4.4, 0.3)
    moved = open_scan(path, ScanOptions(source_origin=45.0)).geometry()[1]
    assert isinstance(moved, FanBeam)
    assert (moved.source_origin, moved.source_detector) == (45, 60)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"source_origin": 40.0}, "needs both"),
        ({"curved": True}, "--curved: is for fan beams"),
        ({**FAN, "source_origin": 70.0}, "source_detector: expected at least"),
        ({**FAN, "source_origin": 4.0, "source_detector": 6.0}, "corners nearer"),
        ({"detector_spacing": -1.0}, "--detector-spacing"),
        ({"gain": 2.0}, "--gain is for counts"),
        ({"darks": Path("none")}, "no such file"),
    ],
)
def test_geometry_that_cannot_be(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    np.save(tmp_path / "s.npy", VALUES[0] / 1000.0)
    with pytest.raises(ValueError, match=message):
        open_scan(tmp_path / "s.npy", ScanOptions(**GIVEN, **said))
