"""A sinogram file and what the user says of it: geometry, meaning of the values, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from ct.data.angle_options import parse_angles
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.data.sinogram_file import open_sinogram, write_sinogram
from ct.geometry import ImageGrid, ParallelBeam

GRID = ImageGrid((4, 5), 0.5)
SCAN = ParallelBeam((0.0, 0.7, 1.9), 7, 0.25, 2.5)


@pytest.fixture
def sinogram(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
    write_sinogram(
        tmp_path / "sino.h5",
        ((v, 0.5) for v in values),
        grid=GRID,
        scan=SCAN,
        n_slices=2,
        units="HU·mm",
        image_units="HU",
        metadata={"seed": 3, "versions": {"torch": "2"}},
    )
    return tmp_path / "sino.h5"


def test_layout_is_the_documented_one(sinogram: Path) -> None:
    with h5py.File(sinogram) as file:
        assert file["sinogram"].shape == (2, 3, 7)
        assert file["sinogram"].dtype == np.float32
        np.testing.assert_allclose(file["angles"], SCAN.angles)
        assert json.loads(file.attrs["geometry"])["scan"]["center"] == 2.5


def test_what_was_written_is_read(sinogram: Path) -> None:
    opened = open_scan(sinogram)
    assert opened.geometry() == (GRID, SCAN)
    assert (opened.values, opened.values_from) == ("line integrals", "the file")
    assert (opened.file.units, opened.image_units) == ("HU·mm", "HU")
    assert opened.file.noise_std == (0.5, 0.5)
    assert opened.file.metadata["seed"] == 3
    expected = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
    np.testing.assert_array_equal(opened.read(1).values, expected[1])


def test_the_user_overrides_the_file(sinogram: Path) -> None:
    options = ScanOptions(angles="0:90:3", degrees=True, center=3.0, pixel_size=1.0, image_size=6)
    grid, scan = open_scan(sinogram, options).geometry()
    assert grid == ImageGrid((6, 6), 1.0)
    # the detector's spacing keeps its ratio to the pixel
    assert scan == ParallelBeam((0.0, math.pi / 6, math.pi / 3), 7, 0.5, 3.0)


def test_npy_without_angles_says_so_and_takes_them(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.ones((3, 7)) * 0.5)
    with pytest.raises(ValueError, match="--angles 0:180:3 --degrees"):
        open_scan(tmp_path / "s.npy").geometry()
    grid, scan = open_scan(tmp_path / "s.npy", ScanOptions(angles="0:3:3")).geometry()
    assert (grid, scan) == (ImageGrid((7, 7)), ParallelBeam((0.0, 1.0, 2.0), 7))


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_angles_from_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"angles.{kind}"
    if kind == "npy":
        np.save(path, [0.0, 90.0])
    else:
        path.write_text("0, 90\n")
    assert parse_angles(str(path), degrees=True) == pytest.approx((0, math.pi / 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0:180:60", "say --degrees"),
        ("0:x:3", "START:STOP:N"),
        ("nowhere.txt", "START:STOP:N or a file"),
        ("0:1:0", "at least 1"),
        ("0:nan:3", "finite"),
    ],
)
def test_angles_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_angles(text, degrees=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((3, 4), 4000), "counts"),
        (np.arange(12).reshape(3, 4) * 1.0, "line integrals"),  # too small to be sure
        (np.full((3, 4), 4000.5), "counts"),  # an average of some readings
        (np.linspace(0, 4000.5, 12).reshape(3, 4), "line integrals"),  # has empty rays
        (np.full((3, 4), -4000), "line integrals"),
    ],
)
def test_counts_are_recognised(tmp_path: Path, values: np.ndarray, expected: str) -> None:
    np.save(tmp_path / "s.npy", values)
    opened = open_scan(tmp_path / "s.npy")
    assert (opened.values, opened.values_from) == (expected, "recognised")
    other = {"counts": "line integrals", "line integrals": "counts"}[expected]
    if values.min() >= 0:
        assert open_scan(tmp_path / "s.npy", ScanOptions(values=other)).values == other


def test_counts_need_i0(tmp_path: Path) -> None:
    counts = np.array([[1000, 500], [250, 0]])
    np.save(tmp_path / "s.npy", counts)
    with pytest.raises(ValueError, match="give --i0"):
        open_scan(tmp_path / "s.npy").read(0)
    measured = open_scan(tmp_path / "s.npy", ScanOptions(i0=1000.0)).read(0)
    # the zero is set to half the smallest count
    np.testing.assert_allclose(measured.values, np.log([[1, 2], [4, 8]]), rtol=1e-6)
    assert measured.n_raised == 1
    assert measured.noise_std is None


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (-np.ones((2, 2)), ScanOptions(values="counts"), "cannot be negative"),
        (np.ones((2, 2)) / 3, ScanOptions(i0=5.0), "--i0 is for counts"),
        (np.ones((2, 2)), ScanOptions(degrees=True), "give --angles"),
        (np.ones((2, 2)), ScanOptions(angles="0:1:3"), r"2 views .* --angles gives 3 angles"),
        (np.array([[1, np.nan]]), ScanOptions(), r"1 NaN .*view 0, detector 1"),
        (np.ones((2, 2)), ScanOptions(angles="0:1:2", pixel_size=0.0), "--pixel-size"),
        (np.full((2, 2), 500), ScanOptions(i0=-1.0), "--i0"),
        (np.ones(3), ScanOptions(), r"shape \[3\]"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, values: np.ndarray, options: ScanOptions, message: str
) -> None:
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(ValueError, match=message):
        open_scan(tmp_path / "s.npy", options)


def test_shape_and_angles_that_disagree_are_both_said(sinogram: Path) -> None:
    with h5py.File(sinogram, "a") as file:
        del file["angles"]
        file["angles"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"3 views \(shape \[2, 3, 7\]\) but .* 4 angles"):
        open_scan(sinogram)
    # the user can put it right
    assert open_scan(sinogram, ScanOptions(angles="0:1:3")).geometry()[1].n_views == 3


def test_angles_and_geometry_that_differ(sinogram: Path) -> None:
    with h5py.File(sinogram, "a") as file:
        file["angles"][0] = 0.1
    with pytest.raises(ValueError, match="'angles' and its geometry's angles differ"):
        open_scan(sinogram)


def test_files_that_are_no_sinogram(tmp_path: Path, sinogram: Path) -> None:
    whole = sinogram.read_bytes()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["scan/values"] = np.zeros(3)
    cases = {
        "empty.h5": (b"", "empty"),
        "text.h5": (b"hello", "another kind of file"),
        "short.h5": (whole[: len(whole) // 2], "truncated or damaged"),
        "other.h5": ((tmp_path / "other.h5").read_bytes(), "'sinogram', found scan/values"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            open_sinogram(tmp_path / name)
        assert name in str(error.value)
    with pytest.raises(ValueError, match="no such file"):
        open_sinogram(tmp_path / "none.h5")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> object:
        yield np.zeros((3, 7), np.float32), 0.0
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        write_sinogram(
            tmp_path / "s.h5",
            failing(),
            grid=GRID,
            scan=SCAN,
            n_slices=2,
            units="",
            image_units="",
            metadata={},
        )
    assert list(tmp_path.iterdir()) == []
