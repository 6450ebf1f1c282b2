"""Real scans of three formats: geometry, calibration and noise are what their sources say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ct.cli import run
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.geometry import FanBeam
from ct.noise import estimate_noise_std

pytestmark = pytest.mark.data


def info(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> dict[str, Any]:
    assert run(["info", str(path), "--json", *options]) == 0
    described: dict[str, Any] = json.loads(capsys.readouterr().out)
    return described


def test_tooth(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data_dir / "ct_raw" / "tooth_dxchange.h5"
    said = info(capsys, path)
    assert (said["slices"], said["views"], said["detectors"]) == (2, 181, 640)
    assert (said["format"], said["values"], said["units"]) == (
        "Data Exchange HDF5", "counts", "counts",
    )  # fmt: skip
    assert (said["flats"], said["darks"], said["broken_bins"]) == (10, 10, {})
    assert said["last_angle_degrees"] == pytest.approx(179.0055)
    assert said["gain"] == pytest.approx(0.67, abs=0.05)
    # two ways to the noise that share nothing: the flats' scatter, and the sinogram's own, which
    # does not see the error of the flats' mean (5 %) nor all of what neighbours share (0.1 of it)
    measured = open_scan(path).read(0)
    assert measured.noise_std is not None
    ratio = estimate_noise_std(measured.values, measured.noise_std)
    assert 0.85 < ratio < 1.05


def test_helsinki(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data_dir / "ct_raw" / "htc2022_tb_90deg.mat"
    said = info(capsys, path)
    assert (said["views"], said["detectors"], said["values"]) == (181, 560, "line integrals")
    assert (said["first_angle_degrees"], said["last_angle_degrees"]) == pytest.approx((75, 165))
    assert said["pixel_size_mm"] == pytest.approx(0.1483223)
    assert said["image_shape"] == [560, 560]
    assert any("limited angle" in note for note in said["notes"])
    scan = open_scan(path).geometry()[1]
    assert isinstance(scan, FanBeam)
    assert (scan.source_origin, scan.source_detector, scan.detector_spacing) == (
        410.66, 553.74, 0.2,
    )  # fmt: skip


def test_neutrons(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data_dir / "ct_raw" / "neutron_sinogram_360.tif"
    said = info(capsys, path)
    assert (said["values"], said["zeros"], said["geometry"]) == ("counts", 214, None)
    assert any("--i0 (the brightest rays read 47" in note for note in said["notes"])
    options = ScanOptions(i0=47_000.0, angles="0:360:459", degrees=True, center=245.0)
    measured = open_scan(path, options).read(0)
    assert (measured.n_missing, measured.n_raised) == (214, 0)
    assert measured.noise_std is not None
    assert np.isinf(measured.noise_std).sum() == 214
    assert np.isfinite(measured.values).all()
