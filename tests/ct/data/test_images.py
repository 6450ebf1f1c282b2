"""Images come in with their own values, units and pixel size, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file
from skimage import io

from ct.data.images import read_image


def ct_slice() -> Path:
    return Path(str(get_testdata_file("CT_small.dcm", download=False)))


def test_dicom_values_are_hounsfield_units() -> None:
    image = read_image(ct_slice())
    dataset = pydicom.dcmread(ct_slice())
    by_hand = dataset.pixel_array.astype(float) * 1.0 - 1024.0
    assert image.units == "HU"
    assert image.pixel_size == pytest.approx(0.661468)
    assert (by_hand.min(), by_hand.max()) == (-896, 1167)
    np.testing.assert_array_equal(image.read(0), by_hand)


def test_dicom_slope_is_used(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(ct_slice())
    stored = dataset.pixel_array.astype(float)
    dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-7"
    dataset.save_as(tmp_path / "a")  # no suffix: the content says what it is
    np.testing.assert_allclose(read_image(tmp_path / "a").read(0), 2.5 * stored - 7)


def test_dicom_pixels_that_are_not_square_are_refused(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(ct_slice())
    dataset.PixelSpacing = [0.5, 0.7]
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match=r"square pixels, found 0\.5 mm × 0\.7 mm"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_its_grey_values(tmp_path: Path, dtype: type[np.unsignedinteger]) -> None:
    values = (np.arange(12).reshape(3, 4) * (np.iinfo(dtype).max // 12)).astype(dtype)
    io.imsave(tmp_path / "a.png", values, check_contrast=False)
    image = read_image(tmp_path / "a.png")
    assert (image.shape, image.units, image.pixel_size) == ((1, 3, 4), "grey value", None)
    np.testing.assert_array_equal(image.read(0), values)


def test_colour_is_refused(tmp_path: Path) -> None:
    io.imsave(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8), check_contrast=False)
    with pytest.raises(ValueError, match="grey PNG, found colour"):
        read_image(tmp_path / "a.png")


def test_npy_is_one_slice_or_a_stack(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.save(tmp_path / "stack.npy", values)
    np.save(tmp_path / "one.npy", values[1])
    stack, one = read_image(tmp_path / "stack.npy"), read_image(tmp_path / "one.npy")
    assert (stack.shape, one.shape) == ((2, 3, 4), (1, 3, 4))
    np.testing.assert_array_equal(stack.read(1), values[1].astype(np.float32))
    np.testing.assert_array_equal(one.read(0), stack.read(1))
    assert isinstance(stack.stack.load(0), np.memmap)  # a large stack is not read at once


BAD: dict[str, tuple[bytes | np.ndarray, str]] = {
    "empty": (b"", "empty"),
    "foreign": (b"%PDF-1.7 something", "another kind of file"),
    "short_png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "damaged or truncated"),
    "short_dicom": (b"\0" * 128 + b"DICM\x02\0\0\0UL\x04", "whole DICOM"),
    "nan": (np.array([[1.0, np.nan]]), "1 NaN or infinite .*row and column \\(0, 1\\)"),
    "complex": (np.zeros((2, 2), complex), "real numbers"),
    "text": (np.array([["a"]]), "real numbers"),
    "vector": (np.zeros(3), "shape \\[3\\]"),
    "nothing": (np.zeros((0, 3)), "shape \\[0, 3\\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = tmp_path / "image.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    with pytest.raises(ValueError, match=message) as error:
        read_image(path)
    assert str(path) in str(error.value)


def test_truncated_npy_and_dicom(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((20, 20)))
    for source in (tmp_path / "a.npy", ct_slice()):
        path = tmp_path / f"short{source.suffix}"
        path.write_bytes(source.read_bytes()[:2000])
        with pytest.raises(ValueError, match="whole"):
            read_image(path)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read_image(tmp_path / "a.npy")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_image(tmp_path / "no.npy")
    with pytest.raises(ValueError, match="found no file in it"):
        read_image(tmp_path)


def test_tiff_is_one_image_a_stack_of_pages_or_a_folder(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 60_000, (3, 4, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "one", values[0])
    tifffile.imwrite(tmp_path / "pages", values, compression="zlib", photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej", values, imagej=True)
    (tmp_path / "folder").mkdir()
    for index, number in enumerate([2, 9, 10]):  # sorted as numbers, not as text
        tifffile.imwrite(tmp_path / "folder" / f"s_{number}.tif", values[index])
    assert read_image(tmp_path / "one").units == "grey value"
    np.testing.assert_array_equal(read_image(tmp_path / "one").read(0), values[0])
    for name in ("pages", "imagej", "folder"):
        image = read_image(tmp_path / name)
        assert image.shape == (3, 4, 5)
        for index in range(3):
            np.testing.assert_array_equal(image.read(index), values[index])


def test_tiff_of_one_page_that_hides_a_stack(tmp_path: Path) -> None:
    """ImageJ's form of large stacks: one page, the other slices behind its values."""
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values[0], metadata=None, description=IMAGEJ)
    with (tmp_path / "a.tif").open("ab") as file:
        file.write(values[1:].tobytes())
    image = read_image(tmp_path / "a.tif")
    assert (image.shape, image.units) == ((3, 4, 5), "")
    np.testing.assert_array_equal(image.read(2), values[2])
    np.testing.assert_array_equal(image.read(0), values[0])
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="truncated"):
        read_image(tmp_path / "a.tif")


IMAGEJ = "ImageJ=1.11a\nimages=3\nslices=3\n"


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("form", [{}, {"imagej": True}, {"compression": "zlib"}])
def test_truncated_tiff(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], part: float, form: dict[str, object]
) -> None:
    values = np.random.default_rng(0).normal(size=(5, 40, 60)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, **form)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"a\.tif.*truncated"):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([np.zeros((3, 4, 3), np.uint8)], "found colour"),
        (
            [np.zeros((3, 4)), np.zeros((3, 5))],
            "pages of one size and type, found 3×4 float64, 3×5",
        ),
        ([np.zeros((3, 4), np.complex64)], "real numbers"),
        ([np.full((3, 4), np.inf)], "12 NaN or infinite"),
    ],
)
def test_tiff_that_is_no_image(tmp_path: Path, pages: list[np.ndarray], message: str) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, contiguous=False)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.tif")


def series(folder: Path, heights: list[float], **changes: object) -> None:
    folder.mkdir()
    for number, height in enumerate(heights):
        dataset = pydicom.dcmread(ct_slice())
        dataset.ImagePositionPatient = [-10, 20, height]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.RescaleIntercept = height
        for name, value in changes.items():
            setattr(dataset, name, value if number else getattr(dataset, name))
        dataset.save_as(folder / f"{number}.dcm")


def test_a_folder_of_dicom_slices_is_sorted_by_position(tmp_path: Path) -> None:
    series(tmp_path / "ct", [5.0, -2.5, 0.0, 2.5])
    (tmp_path / "ct" / "readme.txt").write_text("not a slice")
    image = read_image(tmp_path / "ct")
    assert image.shape == (4, 128, 128)
    assert (image.slice_spacing, image.units) == (2.5, "HU")
    assert image.pixel_size == pytest.approx(0.661468)
    stored = pydicom.dcmread(ct_slice()).pixel_array
    for index, height in enumerate([-2.5, 0, 2.5, 5]):
        np.testing.assert_array_equal(image.read(index), (stored + height).astype(np.float32))


@pytest.mark.parametrize(
    ("heights", "changes", "message"),
    [
        ([0.0, 1.0, 3.0, 4.0], {}, "1 mm apart, found 2 mm .*missing"),
        ([0.0, 0.0], {}, "found 0 mm"),
        ([0.0, 1.0], {"SeriesInstanceUID": "1.2.3"}, "expected one series, found 2"),
        ([0.0, 1.0], {"PixelSpacing": [0.5, 0.5]}, "pixels of one size, found 2"),
        ([0.0, 1.0], {"ImagePositionPatient": None}, "expected ImagePositionPatient"),
    ],
)
def test_dicom_folders_that_are_no_stack(
    tmp_path: Path, heights: list[float], changes: dict[str, object], message: str
) -> None:
    series(tmp_path / "ct", heights, **changes)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "ct")
