"""What `info` says: geometry, coverage, calibration, and what looks odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from ct.cli import run
from ct.data.scan_notes import angular_coverage, looks_like_transmission
from ct.data.scan_options import ScanOptions
from ct.description import describe_file
from ct.geometry import FanBeam, ParallelBeam

VIEWS, BINS = 60, 31
INTEGRALS = np.tile(
    2 * np.sqrt(np.maximum(0, 1 - np.linspace(-1.2, 1.2, BINS) ** 2)), (VIEWS, 1)
).astype(np.float32)


def degrees(*angles: float) -> tuple[float, ...]:
    return tuple(np.deg2rad(angles).tolist())


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        (np.arange(180.0), 180),
        (np.arange(360.0), 180),
        (np.arange(-90.0, 90.0), 180),
        (np.arange(0, 90.5, 0.5), 90),
        (np.arange(75, 165.5, 0.5), 90),
        (np.r_[np.arange(0, 60.0), np.arange(90.0, 180.0)], 149),  # a missing wedge in the middle
        (np.random.default_rng(0).permutation(180), 180),
        ([5.0], 0),
    ],
)
def test_coverage_of_a_parallel_beam(angles: Any, expected: float) -> None:
    scan = ParallelBeam(degrees(*angles), BINS)
    assert angular_coverage(scan) == (pytest.approx(expected, abs=1e-6), 180)


def test_a_fan_needs_half_a_turn_and_its_opening() -> None:
    """An opening of 2·atan(15/30) = 53.13°."""
    scan = FanBeam(degrees(*np.arange(200.0)), BINS, 20.0, 30.0)
    covered, needed = angular_coverage(scan)
    assert covered == pytest.approx(199)
    assert needed == pytest.approx(180 + 2 * np.degrees(np.arctan(0.5)))
    assert angular_coverage(FanBeam(degrees(*np.arange(360.0)), BINS, 20.0, 30.0))[0] == 360


def test_transmission_is_told_from_line_integrals() -> None:
    assert looks_like_transmission(np.exp(-INTEGRALS))
    assert not looks_like_transmission(INTEGRALS)
    assert not looks_like_transmission(1000 * np.exp(-INTEGRALS))
    assert not looks_like_transmission(np.ones_like(INTEGRALS))


def notes(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert run(["info", str(path), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    return "\n".join(line for line in lines if line.startswith("note: "))


HALF_TURN = ("--angles", f"0:180:{VIEWS}", "--degrees")


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (INTEGRALS, (), "give --angles"),
        (INTEGRALS, ("--angles", f"0:90:{VIEWS}", "--degrees"), "88.5° of the 180°"),
        (INTEGRALS, ("--angles", f"0:3.1:{VIEWS}", "--degrees"), "if the angles are radians"),
        (INTEGRALS, (*HALF_TURN, "--center", "40"), "beside the detector"),
        (np.exp(-INTEGRALS), HALF_TURN, "say --counts --i0 1"),
        (np.round(4000 * np.exp(-INTEGRALS)), HALF_TURN, "the brightest rays read 4000"),
        (np.round(4000 * np.exp(-INTEGRALS)), (*HALF_TURN, "--i0", "1000"), "far above i0"),
        (np.round(4000 * np.exp(-INTEGRALS)), (*HALF_TURN, "--i0", "4000"), "give --gain"),
    ],
)
def test_what_looks_odd_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    values: np.ndarray,
    options: tuple[str, ...],
    expected: str,
) -> None:
    np.save(tmp_path / "s.npy", values)
    assert expected in notes(tmp_path / "s.npy", capsys, *options)


def test_nothing_odd_is_said_of_a_sound_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "s.npy", INTEGRALS)
    assert notes(tmp_path / "s.npy", capsys, *HALF_TURN) == ""


def test_flats_gain_and_broken_bins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    flats = generator.poisson(9000, (10, 2, BINS))
    flats[:, 1, 7] = 100
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["exchange/data"] = generator.poisson(9000 * np.exp(-INTEGRALS), (2, VIEWS, BINS))
        file["exchange/data"].attrs["axes"] = "y:theta:x"
        file["exchange/data_white"] = flats
        file["exchange/data_white"].attrs["axes"] = "theta:y:x"
        file["exchange/data_dark"] = generator.normal(100, 3, (10, 2, BINS))
        file["exchange/data_dark"].attrs["axes"] = "theta:y:x"
        file["exchange/theta"] = np.arange(VIEWS) * 3.0
    said = describe_file(tmp_path / "s.h5")
    assert (said["format"], said["flats"], said["darks"]) == ("Data Exchange HDF5", 10, 10)
    assert said["gain"] == pytest.approx(1, rel=0.25)
    assert said["gain_from"] == "flats"
    assert said["i0_above_dark"] == pytest.approx(8900, rel=0.02)
    assert said["dark_level"] == pytest.approx(100, abs=2)
    assert said["broken_bins"] == {"no response": 1}
    assert said["missing_rays"] == VIEWS
    assert any("1 no response" in note for note in said["notes"])
    assert run(["info", f"{tmp_path}/s.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["broken_bins"] == {"no response": 1}


def test_fan_geometry_is_said_whole(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", INTEGRALS)
    said = describe_file(
        tmp_path / "s.tif",
        ScanOptions(
            angles=f"0:360:{VIEWS}",
            degrees=True,
            source_origin=50.0,
            source_detector=75.0,
            detector_spacing=0.3,
            curved=True,
        ),
    )
    assert (said["geometry"], said["detector_shape"], said["format"]) == (
        "fan beam", "curved", "TIFF",
    )  # fmt: skip
    assert (said["source_origin_mm"], said["source_detector_mm"]) == (50, 75)
    assert said["pixel_size_mm"] == pytest.approx(0.2)
    assert said["image_width_mm"] == pytest.approx(6.2)
    assert said["field_of_view_mm"] == pytest.approx(2 * 50 * np.sin(15 * 0.3 / 75))
