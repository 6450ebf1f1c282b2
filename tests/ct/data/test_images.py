"""Images come in with their own values, units and pixel size, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
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
    assert isinstance(stack.values, np.memmap)  # a large stack is not read at once


BAD: dict[str, tuple[bytes | np.ndarray, str]] = {
    "empty": (b"", "empty"),
    "foreign": (b"%PDF-1.7 something", "another kind of file"),
    "short_png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "damaged or truncated"),
    "short_dicom": (b"\0" * 128 + b"DICM\x02\0\0\0UL\x04", "whole DICOM"),
    "nan": (np.array([[1.0, np.nan]]), "1 NaN or infinite .*row and column \\(0, 1\\)"),
    "complex": (np.zeros((2, 2), complex), "real numbers"),
    "text": (np.array([["a"]]), "real numbers"),
    "vector": (np.zeros(3), "shape \\(3,\\)"),
    "nothing": (np.zeros((0, 3)), "shape \\(0, 3\\)"),
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
    with pytest.raises(ValueError, match="found a folder"):
        read_image(tmp_path)
