"""Every format of scans gives the same slices, and the geometry that the file states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from ct.data import stack as stack_module
from ct.data.angle_units import angles_in_radians
from ct.data.scan_input import open_scan
from ct.data.scan_options import ScanOptions
from ct.data.sinogram_file import open_sinogram
from ct.geometry import FanBeam, ImageGrid, ParallelBeam

SLICES, VIEWS, BINS = 4, 12, 9
ANGLES = np.arange(VIEWS) * 15.0
VALUES = np.random.default_rng(0).integers(500, 4000, (SLICES, VIEWS, BINS)).astype(np.uint16)
FLATS = np.random.default_rng(1).normal(5000, 30, (10, SLICES, BINS)).astype(np.float32)
DARKS = np.random.default_rng(2).normal(100, 3, (8, SLICES, BINS)).astype(np.float32)
PARAMETERS = {
    "angles": ANGLES,
    "distanceSourceOrigin": 40.0,
    "distanceSourceDetector": 60.0,
    "distanceUnit": "mm",
    "pixelSizePost": 0.3,
    "effectivePixelSizePost": 0.2,
    "numDetectorsPost": BINS,
}


def assert_slices(path: Path, **options: Any) -> None:
    opened = open_sinogram(path, **options)
    assert opened.shape == (SLICES, VIEWS, BINS)
    for index in (2, 0, 3, 1):
        np.testing.assert_array_equal(opened.read(index), VALUES[index])


def data_exchange(path: Path, *, axes: str = "theta:y:x", **theta: object) -> Path:
    order = axes.split(":")
    arrays = {
        "data": VALUES.swapaxes(0, 1) if order[0] == "theta" else VALUES,
        "data_white": FLATS,
        "data_dark": DARKS,
    }
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"exchange/{name}"] = values
        file["exchange/data"].attrs["axes"] = np.bytes_(axes)
        if axes != "theta:y:x":
            for name in ("data_white", "data_dark"):
                file[f"exchange/{name}"].attrs["axes"] = "theta:y:x"
        file["exchange/theta"] = theta.get("values", ANGLES)
        file["exchange/theta"].attrs["units"] = theta.get("units", "degrees")
    return path


@pytest.mark.parametrize("axes", ["theta:y:x", "y:theta:x"])
def test_data_exchange_in_both_orders(tmp_path: Path, axes: str) -> None:
    path = data_exchange(tmp_path / "scan", axes=axes)
    assert_slices(path)
    opened = open_scan(path)
    np.testing.assert_allclose(opened.geometry()[1].angles, np.deg2rad(ANGLES))
    assert (opened.values, opened.values_from, opened.image_units) == ("counts", "the file", "1/mm")
    for index in range(SLICES):
        dark, flat = DARKS[:, index].mean(axis=0), FLATS[:, index].mean(axis=0)
        expected = -np.log((VALUES[index] - dark) / (flat - dark))
        np.testing.assert_allclose(opened.read(index).values, expected, rtol=2e-3, atol=2e-3)


def test_data_exchange_without_axes_goes_by_the_length_of_theta(tmp_path: Path) -> None:
    path = data_exchange(tmp_path / "scan", axes="y:theta:x")
    with h5py.File(path, "a") as file:
        del file["exchange/data"].attrs["axes"]
    assert_slices(path)


def test_data_exchange_theta_in_radians_or_without_units(tmp_path: Path) -> None:
    half_turn = np.arange(VIEWS) * np.pi / VIEWS
    path = data_exchange(tmp_path / "scan", values=half_turn, units="radians")
    np.testing.assert_allclose(open_sinogram(path).angles, half_turn)
    path = data_exchange(tmp_path / "scan", units="")
    np.testing.assert_allclose(open_sinogram(path).angles, np.deg2rad(ANGLES))


def test_slices_across_projections_are_read_in_bands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of projections is read once for all slices of a band, and never whole."""
    path = data_exchange(tmp_path / "scan")
    monkeypatch.setattr(stack_module, "_BAND_BYTES", 2 * VIEWS * BINS * 2)
    opened = open_sinogram(path)
    reads: list[Any] = []
    original = h5py.Dataset.__getitem__

    def counting(self: Any, key: Any, *more: Any) -> Any:
        reads.append(key)
        return original(self, key, *more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    for index in range(SLICES):
        np.testing.assert_array_equal(opened.read(index), VALUES[index])
    assert reads == [(slice(None), slice(0, 2)), (slice(None), slice(2, 4))]


@pytest.mark.parametrize("name", ["sinogram", "entry/scan/raw"])
def test_plain_hdf5_with_any_dataset(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scan.dat"
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=VALUES, chunks=(1, 4, 5), compression="gzip")
        file["angles"] = ANGLES
        file["angles"].attrs["units"] = "degrees"
    options = {} if name == "sinogram" else {"dataset": name}
    assert_slices(path, **options)
    np.testing.assert_allclose(open_sinogram(path, **options).angles, np.deg2rad(ANGLES))


@pytest.mark.parametrize("form", ["npy", "pages", "folder", "hdf5"])
@pytest.mark.parametrize("projections", [False, True])
def test_stacks_of_sinograms_and_of_projections(
    tmp_path: Path, form: str, projections: bool
) -> None:
    values = VALUES.swapaxes(0, 1) if projections else VALUES
    path = tmp_path / "scan"
    if form == "npy":
        with path.open("wb") as file:
            np.save(file, values)
    elif form == "pages":
        tifffile.imwrite(path, values, photometric="minisblack")
    elif form == "hdf5":
        with h5py.File(path, "w") as file:
            file["sinogram"] = values
    else:
        path.mkdir()
        for number, page in enumerate(values):
            tifffile.imwrite(path / f"view{number}.tif", page)
    assert_slices(path, projections=projections)


def test_a_stack_of_projections_taken_for_sinograms_says_what_to_do(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES.swapaxes(0, 1))
    options = ScanOptions(angles=f"0:180:{VIEWS}", degrees=True)
    with pytest.raises(ValueError, match="say --projections"):
        open_scan(tmp_path / "s.npy", options)
    np.save(tmp_path / "one.npy", VALUES[0].T)
    with pytest.raises(ValueError, match="transpose it"):
        open_scan(tmp_path / "one.npy", options)


def matlab(path: Path, struct: dict[str, Any], *, version: str = "5") -> Path:
    if version == "5":
        scipy.io.savemat(path, struct)
        return path
    with h5py.File(path, "w", userblock_size=512) as file:
        write_v73(file, struct)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def write_v73(group: Any, fields: dict[str, Any]) -> None:
    """Write structs, numbers and text as MATLAB does: columns first, text as 16-bit codes."""
    for name, value in fields.items():
        if isinstance(value, dict):
            write_v73(group.create_group(name), value)
        elif isinstance(value, str):
            group[name] = np.array([[ord(letter)] for letter in value], dtype=np.uint16)
            group[name].attrs["MATLAB_class"] = np.bytes_("char")
        else:
            group[name] = np.atleast_2d(np.asarray(value, dtype=np.float64)).T


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


@pytest.mark.parametrize(
    ("values", "units", "expected"),
    [
        ([0.0, 90.0], "degree", [0, np.pi / 2]),
        ([0.0, 1.0], "rad", [0, 1]),
        ([0.0, 90.0], "", [0, np.pi / 2]),
        (np.arange(60) * np.pi / 60, "", np.arange(60) * np.pi / 60),
        (np.arange(60) * 0.5, "degrees", np.deg2rad(np.arange(60) * 0.5)),
    ],
)
def test_units_of_angles(values: Any, units: str, expected: Any) -> None:
    np.testing.assert_allclose(angles_in_radians(values, units, "f"), expected)


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        (np.arange(180.0), "radians", "reach 179: they look like degrees"),
        (np.arange(180) * np.pi / 180, "degrees", "look like radians"),
        (np.arange(720) * np.pi / 360, "deg", "2.00 π"),
        (np.arange(10.0) / 9, "", "have no units"),
        ([1.0, np.nan], "degrees", "1 NaN"),
        ([1.0], "turns", "found 'turns'"),
        ([], "degrees", "of 0"),
    ],
)
def test_angles_that_contradict_their_units(values: Any, units: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        angles_in_radians(values, units, "f")


@pytest.mark.parametrize("form", ["npy", "tiff", "hdf5"])
@pytest.mark.parametrize("images", [True, False])
def test_flats_and_darks_from_files(tmp_path: Path, form: str, images: bool) -> None:
    """Images of the whole detector, or readings of one row for all slices."""
    np.save(tmp_path / "s.npy", VALUES)
    names = {}
    for name, values in (("flats", FLATS), ("darks", DARKS)):
        held = values if images else values[:, 1]
        path = tmp_path / name
        if form == "npy":
            with path.open("wb") as file:
                np.save(file, held)
        elif form == "tiff":
            tifffile.imwrite(path, held, photometric="minisblack")
        else:
            with h5py.File(path, "w") as file:
                file["a/b"] = held
        names[name] = Path(f"{path}::a/b") if form == "hdf5" else path
    opened = open_scan(tmp_path / "s.npy", ScanOptions(**names))
    assert (opened.values, opened.values_from) == ("counts", "flats")
    for index in range(SLICES):
        row = index if images else 1
        dark, flat = DARKS[:, row].mean(axis=0), FLATS[:, row].mean(axis=0)
        expected = -np.log((VALUES[index] - dark) / (flat - dark))
        np.testing.assert_allclose(opened.read(index).values, expected, rtol=2e-3, atol=2e-3)


def test_one_flat_of_a_single_row(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES[0])
    np.save(tmp_path / "flat.npy", np.full(BINS, 5000.0))
    measured = open_scan(tmp_path / "s.npy", ScanOptions(flats=tmp_path / "flat.npy")).read(0)
    np.testing.assert_allclose(measured.values, np.log(5000 / VALUES[0]), rtol=1e-5, atol=1e-6)


def test_flats_from_after_the_scan(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", VALUES[0])
    np.save(tmp_path / "before.npy", np.full(BINS, 5000.0))
    np.save(tmp_path / "after.npy", np.full(BINS, 4000.0))
    after = ScanOptions(flats_after=tmp_path / "after.npy", values="counts")
    with pytest.raises(ValueError, match="give --flats"):
        open_scan(tmp_path / "s.npy", after)
    both = replace(after, flats=tmp_path / "before.npy")
    measured = open_scan(tmp_path / "s.npy", both).read(0)
    i0 = np.linspace(5000, 4000, VIEWS)[:, None]
    np.testing.assert_allclose(measured.values, np.log(i0 / VALUES[0]), rtol=1e-4, atol=1e-5)


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
