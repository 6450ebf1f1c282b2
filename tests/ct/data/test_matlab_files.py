"""MATLAB files of any version: matrices by name, and structs with their fan beam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ct.data.scan_input import open_scan
from ct.data.sinogram_file import open_sinogram
from ct.geometry import FanBeam
from tests.ct.data.scan_files import (
    ANGLES,
    BINS,
    PARAMETERS,
    VALUES,
    VIEWS,
    matlab,
)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("transposed", [False, True])
def test_helsinki_struct_with_its_fan_beam(tmp_path: Path, version: str, transposed: bool) -> None:
    sinogram = VALUES[0] / 1000.0
    content = {"sinogram": sinogram.T if transposed else sinogram, "parameters": PARAMETERS}
    path = matlab(tmp_path / "scan", {"CtDataFull": {**content, "type": "2D"}}, version=version)
    opened = open_scan(path)
    grid, scan = opened.geometry()
    assert (grid.shape, grid.pixel_size) == ((BINS, BINS), pytest.approx(0.2))
    assert isinstance(scan, FanBeam)
    np.testing.assert_allclose(scan.angles, np.deg2rad(ANGLES))
    assert (scan.source_origin, scan.source_detector, scan.detector_spacing) == (40, 60, 0.3)
    assert (scan.center, scan.curved, opened.values) == (4, False, "line integrals")
    np.testing.assert_allclose(opened.read(0).values, sinogram, rtol=1e-6)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_matlab_matrix_by_name(tmp_path: Path, version: str) -> None:
    content = {"A": np.eye(3), "m": VALUES[1], "s": {"inner": VALUES[2]}}
    path = matlab(tmp_path / "scan", content, version=version)
    np.testing.assert_array_equal(open_sinogram(path, dataset="m").read(0), VALUES[1])
    np.testing.assert_array_equal(open_sinogram(path, dataset="s.inner").read(0), VALUES[2])
    with pytest.raises(ValueError, match=r"found A \(3×3\), m \(12×9\), s \(struct of inner\)"):
        open_sinogram(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"angles": None}, "expected angles, found distance"),
        ({"distanceSourceOrigin": 70.0}, "source_detector: expected at least source_origin"),
        ({"numDetectorsPost": 8}, "9 detectors but numDetectorsPost says 8"),
        ({"distanceUnit": "inch"}, "expected mm, cm, m or um, found 'inch'"),
        ({"angles": np.arange(VIEWS) * np.pi / VIEWS}, "they look like radians"),
        ({"pixelSizePost": "wide"}, "expected one number, found 'wide'"),
    ],
)
def test_helsinki_parameters_that_cannot_be(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    parameters = {k: v for k, v in {**PARAMETERS, **changes}.items() if v is not None}
    struct = {"CtData": {"sinogram": VALUES[0] / 1000.0, "parameters": parameters}}
    with pytest.raises(ValueError, match=message):
        open_sinogram(matlab(tmp_path / "scan", struct))
