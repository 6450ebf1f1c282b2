"""DICOM readers find the values, units, places and identities that the result has."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch

import ct
from ct.data.images import read_image
from tests.ct.output.small_results import (
    BRIGHT,
    BRIGHT_XYZ,
    FIRST,
    WHAT,
    expected,
    listing,
    make,
)


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
