"""Other programs' readers find the values, units and places that the result has."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import warnings
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import torch
from PIL import Image

import ct
from ct.data.images import read_image
from ct.result import Reconstruction

GRID = ct.ImageGrid((5, 7), pixel_size=0.5, slice_spacing=2.0)
SCAN = ct.ParallelBeam([0.0, 1.0, 2.0], n_detectors=9, detector_spacing=0.5)
FIRST = 4  # number of the first slice in the scan
BRIGHT = (2, 1, 5)  # slice, row, column of the one bright pixel
BRIGHT_XYZ = (1.0, 0.5, 2.0 * (FIRST + 2))  # right of the middle, above it

WHAT = ("mean", "std", "lower", "upper")
VOLUMES = ("nii", "nii.gz", "tif", "tiff", "npy", "h5")


def make(n_slices: int = 3, *, uncertain: bool = True, units: str = "HU") -> Reconstruction:
    """Return a stack whose values are different everywhere, with one bright pixel."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(n_slices, 5, 7, generator=generator) * 100 - 300
    if n_slices > BRIGHT[0]:
        mean[BRIGHT] = 2000.0
    return Reconstruction(
        mean=mean,
        std=mean.abs() / 10 + 1 if uncertain else None,
        samples=None,
        metadata={
            "method": "mc-dropout" if uncertain else "fbp",
            "settings": {},
            "units": units,
            "seed": 0,
            "slices": [FIRST + k for k in range(n_slices)],
            "n_samples": 8 if uncertain else None,
            "noise_std": [0.1] * n_slices,
            "calibration": "none",
            "versions": {"bayesnn": "0.1.0"},
            "diagnostics": [{}] * n_slices,
        },
        grid=GRID,
        scan=SCAN,
    )


@pytest.fixture
def result(tmp_path: Path) -> Path:
    make().save(tmp_path / "rec.h5")
    return tmp_path / "rec.h5"


def expected(path: Path, what: str, level: float = 0.95) -> np.ndarray:
    whole = Reconstruction.load(path)
    lower, upper = (None, None) if whole.std is None else whole.interval(level)
    found = {"mean": whole.mean, "std": whole.std, "lower": lower, "upper": upper}[what]
    assert found is not None
    return found.numpy()


def values_in(path: Path, what: str) -> np.ndarray:
    """Return [slices, rows, columns], by the reader that the format's users have."""
    if path.suffix in {".tif", ".tiff"}:
        return tifffile.imread(path)
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file[what][()]
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("suffix", VOLUMES)
@pytest.mark.parametrize("what", WHAT)
def test_values_come_back(result: Path, suffix: str, what: str) -> None:
    output = result.with_name(f"out.{suffix}")
    calls: list[tuple[int, int]] = []
    done = ct.convert(
        result, output, what=what, level=0.9, progress=lambda *call: calls.append(call)
    )
    values = values_in(output, what)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected(result, what, 0.9))
    assert (done.output, done.slices, done.units) == (output, 3, "HU")
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert listing(result.parent) == sorted(["rec.h5", output.name])


@pytest.mark.parametrize("suffix", VOLUMES[:-1])  # HDF5 keeps the time
def test_the_same_result_gives_the_same_bytes_and_another_file_is_replaced(
    result: Path, suffix: str
) -> None:
    first, second = (result.with_name(f"{name}.{suffix}") for name in "ab")
    second.write_bytes(b"earlier")
    for output in (first, second):
        ct.convert(result, output)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_nifti_places_pixels_in_patient_coordinates(result: Path, suffix: str) -> None:
    output = result.with_name(f"out.{suffix}")
    ct.convert(result, output)
    image = nibabel.load(output)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    brightest = np.unravel_index(np.argmax(np.asarray(image.dataobj)), image.shape)
    assert brightest == BRIGHT[::-1]
    x, y, z = BRIGHT_XYZ
    np.testing.assert_allclose(image.affine @ [*brightest, 1], [-x, y, z, 1], atol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms(), (0.5, 0.5, 2.0))
    for code in ("sform_code", "qform_code"):
        assert int(image.header[code]) == 1
    np.testing.assert_allclose(image.header.get_qform(), image.affine, atol=1e-5)
    assert bytes(image.header["descrip"].tobytes()).startswith(b"mean, mc-dropout (HU)")


def read_series(folder: Path) -> list[pydicom.Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("units", ["HU", "1/mm"])
def test_dicom_keeps_values_within_half_a_step_and_their_units(
    tmp_path: Path, what: str, units: str
) -> None:
    factor = 1.0 if units == "HU" else 1e-5
    whole = make(units=units)
    assert whole.std is not None
    dataclasses.replace(whole, mean=factor * whole.mean, std=factor * whole.std).save(
        tmp_path / "rec.h5"
    )
    done = ct.convert(tmp_path / "rec.h5", tmp_path / "out.dcm", what=what)
    assert done.output == tmp_path / "out"
    assert listing(tmp_path / "out") == ["out_0001.dcm", "out_0002.dcm", "out_0003.dcm"]
    for index, data in enumerate(read_series(done.output)):
        wanted = expected(tmp_path / "rec.h5", what)[index].astype(np.float64)
        slope = float(data.RescaleSlope)
        found = data.pixel_array * slope + float(data.RescaleIntercept)
        # a float32's own rounding comes on top
        assert np.abs(found - wanted).max() <= 0.5 * slope * (1 + 1e-3)
        assert slope < 1.001 * np.ptp(expected(tmp_path / "rec.h5", what)) / 65000
        assert data.RescaleType == ("HU" if units == "HU" else "US")
        assert units in data.ImageComments
        assert data.SeriesDescription == done.description


def test_dicom_places_pixels_where_nifti_does(result: Path) -> None:
    ct.convert(result, result.with_name("out.dcm"))
    ct.convert(result, result.with_name("out.nii"))
    affine = nibabel.load(result.with_name("out.nii")).affine
    for index, data in enumerate(read_series(result.with_name("out"))):
        along_row = np.array(data.ImageOrientationPatient[:3], float)
        down = np.array(data.ImageOrientationPatient[3:], float)
        corner = np.array(data.ImagePositionPatient, float)
        row, column = BRIGHT[1:]
        row_size, column_size = (float(size) for size in data.PixelSpacing)
        lps = corner + column * column_size * along_row + row * row_size * down
        x, y, _ = BRIGHT_XYZ
        np.testing.assert_allclose(lps, [x, -y, 2.0 * (FIRST + index)])
        ras = affine @ [column, row, index, 1]
        np.testing.assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-6)
        assert float(data.SliceThickness) == 2.0
    # the bright pixel is where it was
    brightest = [int(np.argmax(d.pixel_array)) for d in read_series(result.with_name("out"))]
    assert brightest[BRIGHT[0]] == BRIGHT[1] * 7 + BRIGHT[2]


def test_dicom_series_of_one_result_belong_together_and_uids_follow_from_content(
    result: Path,
) -> None:
    found = {}
    for name, what in (("a", "mean"), ("again", "mean"), ("b", "std"), ("c", "upper")):
        ct.convert(result, result.with_name(f"{name}.dcm"), what=what)
        found[name] = read_series(result.with_name(name))
    for shared in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert len({data[shared].value for series in found.values() for data in series}) == 1
    series = {name: {d.SeriesInstanceUID for d in data} for name, data in found.items()}
    assert all(len(uids) == 1 for uids in series.values())
    assert series["a"] == series["again"]
    assert len(series["a"] | series["b"] | series["c"]) == 3
    instances = {name: [d.SOPInstanceUID for d in data] for name, data in found.items()}
    assert instances["a"] == instances["again"]
    assert len({uid for name in "abc" for uid in instances[name]}) == 9
    assert [d.InstanceNumber for d in found["a"]] == [1, 2, 3]
    assert found["b"][0].SeriesDescription == "standard deviation, mc-dropout"
    for data in found["a"]:
        assert data.SOPClassUID == pydicom.uid.CTImageStorage
        assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        # required, whatever is known (dciodvfy misses them)
        for name in ("PatientName", "PatientID", "StudyDate", "Laterality", "KVP"):
            assert not data[name].value
        for uid in (data.StudyInstanceUID, data.SOPInstanceUID):
            assert pydicom.uid.UID(uid).is_valid
    other = make()
    dataclasses.replace(other, mean=other.mean + 1).save(result.with_name("other.h5"))
    ct.convert(result.with_name("other.h5"), result.with_name("d.dcm"))
    assert read_series(result.with_name("d"))[0].StudyInstanceUID != (
        found["a"][0].StudyInstanceUID
    )


@pytest.mark.parametrize("constant", [0.0, 7.0, -1234.5])
def test_a_constant_image_becomes_dicom(tmp_path: Path, constant: float) -> None:
    dataclasses.replace(make(1), mean=torch.full((1, 5, 7), constant)).save(tmp_path / "rec.h5")
    done = ct.convert(tmp_path / "rec.h5", tmp_path / "one.dcm")
    assert done.output == tmp_path / "one.dcm"
    data = pydicom.dcmread(done.output)
    slope = float(data.RescaleSlope)
    found = data.pixel_array * slope + float(data.RescaleIntercept)
    assert np.abs(found - constant).max() <= 0.51 * slope
    assert slope <= max(1e-8 * abs(constant), 1e-29)


def test_dicom_and_tiff_come_back_through_our_own_reader(result: Path) -> None:
    ct.convert(result, result.with_name("out.dcm"))
    ct.convert(result, result.with_name("out.tif"))
    for name, tolerance in (("out", 0.03), ("out.tif", 0.0)):
        image = read_image(result.with_name(name))
        found = np.stack([image.read(index) for index in range(3)])
        np.testing.assert_allclose(found, expected(result, "mean"), rtol=0, atol=tolerance)
    image = read_image(result.with_name("out"))
    assert (image.units, image.pixel_size, image.slice_spacing) == ("HU", 0.5, 2.0)


def test_tiff_says_units_and_pixel_size(result: Path) -> None:
    ct.convert(result, result.with_name("out.tif"), what="std")
    with tifffile.TiffFile(result.with_name("out.tif")) as file:
        assert len(file.pages) == 3
        page = file.pages[0]
        said = json.loads(page.description)
        resolution = [page.tags[name].value for name in ("XResolution", "YResolution")]
        assert page.tags["ResolutionUnit"].value == 3  # centimetres
    assert [a / b for a, b in resolution] == pytest.approx([20, 20])
    assert said == {
        "description": "standard deviation, mc-dropout",
        "units": "HU",
        "pixel_size_mm": 0.5,
        "slice_spacing_mm": 2.0,
        "first_slice_z_mm": 8.0,
    }


def test_a_volume_beyond_4_gb_is_a_bigtiff(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, big in ((3 * 5 * 7 * 4, False), (3 * 5 * 7 * 4 - 1, True)):
        monkeypatch.setattr("ct.output.tiff._LARGEST_CLASSIC", limit)
        ct.convert(result, result.with_name("out.tif"))
        with tifffile.TiffFile(result.with_name("out.tif")) as file:
            assert file.is_bigtiff == big
        np.testing.assert_array_equal(
            tifffile.imread(result.with_name("out.tif")), expected(result, "mean")
        )


def test_plain_hdf5_says_units_and_place(result: Path) -> None:
    ct.convert(result, result.with_name("out.h5"), what="lower", level=0.5)
    with h5py.File(result.with_name("out.h5")) as file:
        said = dict(file["lower"].attrs)
        assert "geometry" in file.attrs
    assert said == {
        "description": "lower end of the 50 % interval, mc-dropout",
        "units": "HU",
        "pixel_size_mm": 0.5,
        "slice_spacing_mm": 2.0,
        "first_slice_z_mm": 8.0,
    }


@pytest.mark.parametrize("window", [None, (-400.0, 100.0)])
def test_png_is_one_slice_through_a_window(
    result: Path, window: tuple[float, float] | None
) -> None:
    done = ct.convert(result, result.with_name("out.png"), slice_index=2, window=window)
    with Image.open(result.with_name("out.png")) as picture:
        grey, said = np.asarray(picture), picture.text["Description"]
        dots = picture.info["dpi"]
    image = expected(result, "mean")[2]
    black, white = window or (image.min(), image.max())
    shares = ((image - black) / (white - black)).clip(0, 1)
    assert grey.dtype == np.uint16
    assert np.abs(grey / 65535 - shares).max() < 0.51 / 65535 + 1e-6
    assert f"black {black:g}, white {white:g}" in said
    assert "HU" in said
    assert done.window == f"black {black:g}, white {white:g}"
    assert dots == pytest.approx((50.8, 50.8), rel=1e-3)


def test_the_window_of_a_standard_deviation_begins_at_zero(result: Path) -> None:
    done = ct.convert(result, result.with_name("out.png"), slice_index=0, what="std")
    assert done.window.startswith("black 0, white ")


@pytest.mark.parametrize("suffix", ["npy", "nii", "tif", "dcm", "h5"])
def test_one_slice_of_a_stack(result: Path, suffix: str) -> None:
    output = result.with_name(f"one.{suffix}")
    done = ct.convert(result, output, slice_index=1)
    assert (done.output, done.slices) == (output, 1)
    one = expected(result, "mean")[1]
    if suffix == "dcm":
        data = pydicom.dcmread(output)
        assert float(data.ImagePositionPatient[2]) == 2.0 * (FIRST + 1)
        assert int(np.argmax(data.pixel_array)) == int(np.argmax(one))
    else:
        np.testing.assert_array_equal(np.squeeze(values_in(output, "mean")), one)
    if suffix == "nii":
        assert nibabel.load(output).affine[2, 3] == 2.0 * (FIRST + 1)


def test_methods_without_uncertainty_have_a_mean_alone(tmp_path: Path) -> None:
    make(uncertain=False).save(tmp_path / "rec.h5")
    assert ct.convert(tmp_path / "rec.h5", tmp_path / "a.npy").description == "image, fbp"
    for what in WHAT[1:]:
        with pytest.raises(ValueError, match=r"fbp gives no uncertainty.*only --what mean"):
            ct.convert(tmp_path / "rec.h5", tmp_path / "b.npy", what=what)
    assert listing(tmp_path) == ["a.npy", "rec.h5"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("out.jpg", {}, "expected a name that ends in .nii.gz"),
        (".nii", {}, "expected a name that ends in"),
        ("out.npy", {"what": "variance"}, "--what: expected mean, std"),
        ("out.npy", {"what": "lower", "level": 1.0}, "--level"),
        ("out.npy", {"slice_index": 3}, "--slice: expected a place from 0 to 2"),
        ("out.npy", {"slice_index": -1}, "--slice"),
        ("out.png", {}, "a PNG holds one slice, the result has 3; choose one with --slice"),
        ("out.png", {"slice_index": 0, "window": (1.0, 1.0)}, "--window: expected BLACK:WHITE"),
        ("out.png", {"slice_index": 0, "window": (0.0, math.nan)}, "--window"),
        ("out.tif", {"window": (0.0, 1.0)}, "--window: is for PNG"),
        ("none/out.npy", {}, "does not exist"),
        ("none/out.dcm", {}, "does not exist"),
        ("rec.h5", {}, "is the input"),
    ],
)
def test_impossible_conversions_are_one_line_and_leave_nothing(
    result: Path, name: str, settings: dict, message: str
) -> None:
    before = result.read_bytes()
    with pytest.raises(ValueError, match=message) as error:
        ct.convert(result, result.with_name("x").parent / name, **settings)
    assert "\n" not in str(error.value)
    assert listing(result.parent) == ["rec.h5"]
    assert result.read_bytes() == before


def test_a_folder_that_is_there_is_not_replaced(result: Path) -> None:
    result.with_name("out").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        ct.convert(result, result.with_name("out.dcm"))
    assert listing(result.parent) == ["out", "rec.h5"]


@pytest.mark.parametrize("suffix", [*VOLUMES, "dcm"])
def test_what_fails_halfway_leaves_nothing(
    result: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = ct.output.volume.Volume.read, []

    def full(volume: object, index: int) -> np.ndarray:
        calls.append(index)
        if len(calls) == (5 if suffix == "dcm" else 2):  # DICOM looks for the range first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return read(volume, index)

    monkeypatch.setattr("ct.output.volume.Volume.read", full)
    output = result.with_name(f"out.{suffix}")
    with pytest.raises(ValueError, match=r"out.*cannot be written \(No space left"):
        ct.convert(result, output)
    assert listing(result.parent) == ["rec.h5"]


@pytest.mark.parametrize("suffix", ["nii", "tif", "npy", "h5", "dcm"])
def test_a_full_disk_is_found_before_work_starts(
    result: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ct.data.disk_room.shutil.disk_usage", lambda _: _Full())
    with pytest.raises(ValueError, match="the disk has 1e-08 GB free"):
        ct.convert(result, result.with_name(f"out.{suffix}"))
    assert listing(result.parent) == ["rec.h5"]


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = make()
    broken.mean[1, 2, 3] = torch.nan
    broken.save(tmp_path / "rec.h5")
    with pytest.raises(ValueError, match="slice 1 holds NaN"):
        ct.convert(tmp_path / "rec.h5", tmp_path / "out.nii")
    assert listing(tmp_path) == ["rec.h5"]


class _Full:
    free = 10
