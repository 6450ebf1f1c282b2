"""Other programs' readers find the values, units and places that the result has."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

import ct
from tests.ct.output.small_results import (
    BRIGHT,
    BRIGHT_XYZ,
    FIRST,
    VOLUMES,
    WHAT,
    expected,
    listing,
    values_in,
)


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
def test_the_same_result_gives_the_same_bytes_and_an_earlier_one_is_replaced(
    result: Path, suffix: str
) -> None:
    first, second = (result.with_name(f"{name}.{suffix}") for name in "ab")
    ct.convert(result, second, what="std")
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
