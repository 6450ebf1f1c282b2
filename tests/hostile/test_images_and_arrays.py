"""TIFF, PNG, .npy, gzip and zip: claims, bombs, circles, and files outside of the folder."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from random import Random
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import tifffile
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.fuzzing.dicom_files import image, saved
from benchmarks.fuzzing.npy_files import with_header
from benchmarks.fuzzing.png_files import _START, chunk
from ct.data.images import read_image
from ct.data.npy_file import load_npy
from ct.data.own_files import is_marked
from ct.data.sinogram_file import open_sinogram
from ct.data.tiff_file import tiff_stack
from tests.hostile.refusals import put, refused, soon_in_little_memory

VALUES = np.random.default_rng(0).integers(0, 1000, (12, 9)).astype(np.uint16)


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ("(1099511627776,)", "mmap"),
        ("(4294967296, 4294967296)", "damaged"),
        ("(" * 500, "damaged|deeply"),
        ("None", "damaged"),
    ],
)
def test_npy_headers_that_claim_anything(tmp_path: Path, shape: str, named: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    path = put(tmp_path, "a.npy", with_header(header, bytes(400)))
    refused(lambda: load_npy(path), path, named)


def test_npy_header_lengths_beyond_the_file(tmp_path: Path) -> None:
    content = bytearray(with_header("{'descr': '<f4', 'fortran_order': False, }", b"", (2, 0)))
    for length in (200, 2**31, 2**32 - 1):
        struct.pack_into("<I", content, 8, length)
        path = put(tmp_path, "a.npy", bytes(content))
        refused(lambda path=path: load_npy(path), path, f"a header of {length}; it is damaged")


def tiff(folder: Path, values: np.ndarray = VALUES, **how: object) -> Path:
    tifffile.imwrite(folder / "a.tif", values, photometric="minisblack", **how)
    return folder / "a.tif"


def entry(content: bytes, tag: int) -> int:
    """Where an entry of the first directory stands."""
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    places = [directory + 2 + 12 * index for index in range(count)]
    return next(one for one in places if struct.unpack_from("<H", content, one)[0] == tag)


@pytest.mark.parametrize(
    ("tag", "part", "value", "named"),
    [
        (256, 8, 2**31, "a page that a file of"),
        (257, 8, 2**31, "a page that a file of"),
        (273, 8, 2**32 - 8, "truncated"),
        (279, 4, 2**31, "claims 2147483648 values"),
        (258, 4, 2**32 - 1, "claims 4294967295 values"),
    ],
)
def test_tiff_entries_that_claim_anything(
    tmp_path: Path, tag: int, part: int, value: int, named: str
) -> None:
    path = tiff(tmp_path, metadata=None)
    content = bytearray(path.read_bytes())
    place = entry(content, tag)
    if part == 8:
        struct.pack_into("<HI", content, place + 2, 4, 1)
    struct.pack_into("<I", content, place + part, value)
    path.write_bytes(content)
    refused(lambda: tiff_stack(path), path, named)


def test_tiff_directories_in_a_circle(tmp_path: Path) -> None:
    path = tiff(tmp_path, metadata=None)
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    struct.pack_into("<I", content, directory + 2 + 12 * count, directory)
    path.write_bytes(content)
    refused(lambda: tiff_stack(path), path, "round in a circle")


def test_tiff_strips_that_unpack_to_far_more(tmp_path: Path) -> None:
    path = tiff(tmp_path, compression="zlib", metadata=None, predictor=False)
    content = bytearray(path.read_bytes())
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    struct.pack_into("<I", content, entry(content, 273) + 8, len(content))
    struct.pack_into("<HII", content, entry(content, 279) + 2, 4, 1, len(bomb))
    path.write_bytes(bytes(content) + bomb)
    refused(lambda: tiff_stack(path).read(0), path, "unpacks to more than")


def test_tiff_descriptions_that_name_other_files(tmp_path: Path) -> None:
    """OME's XML may say that the planes lie elsewhere."""
    (tmp_path / "private").mkdir()
    tifffile.imwrite(tmp_path / "private" / "b.ome.tif", np.full((1, 12, 9), 7, np.uint16))
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="9" '
        'SizeY="12" SizeZ="2" SizeC="1" SizeT="1"><TiffData FirstZ="1" IFD="0"><UUID FileName='
        '"private/b.ome.tif">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
    )
    path = tiff(tmp_path, description=text, metadata=None)
    stack = tiff_stack(path)
    assert stack.shape == (1, 12, 9)
    np.testing.assert_array_equal(stack.read(0), VALUES)


def test_png_that_claims_a_hundred_million_pixels(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2**14, 2**13, 8, 0, 0, 0, 0)
    content = _START + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))
    path = put(tmp_path, "a.png", content + chunk(b"IEND", b""))
    refused(lambda: read_image(path), path, "a PNG that a file of")


@pytest.mark.parametrize("kind", ["tiff", "dicom"])
def test_links_out_of_a_folder_are_not_followed(tmp_path: Path, kind: str) -> None:
    inside, outside = tmp_path / "stack", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    for folder, name in ((inside, "1"), (outside, "2")):
        if kind == "tiff":
            tifffile.imwrite(folder / name, VALUES, photometric="minisblack")
        else:
            put(folder, name, saved(image(ExplicitVRLittleEndian)))
    (inside / "2").symlink_to(outside / "2")
    refused(lambda: read_image(inside), inside / "2", "a link to .* which is not followed")
    if kind == "tiff":
        refused(lambda: open_sinogram(inside), inside / "2", "which is not followed")
    (inside / "2").unlink()
    (inside / "2").symlink_to("1")
    if kind == "tiff":
        assert read_image(inside).shape == (2, 12, 9)


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    refused(lambda: read_image(tmp_path / "pipe.npy"), tmp_path / "pipe.npy", "a pipe or device")
    with pytest.raises(ValueError, match="a pipe or device"):
        read_image("/dev/zero")


def test_damaged_gzip_is_not_ours(tmp_path: Path) -> None:
    path = put(tmp_path, "a.nii.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0" + Random(0).randbytes(300))
    with soon_in_little_memory(path):
        assert not is_marked(path)


def test_gzip_is_unpacked_no_further_than_its_mark(tmp_path: Path) -> None:
    for start, ours in ((b"bayesnn-ct", True), (b"", False)):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        content = packer.compress(start) + packer.compress(bytes(2**28 + 2**26)) + packer.flush()
        path = put(tmp_path, "a.nii.gz", content)
        with soon_in_little_memory(path):
            assert is_marked(path) is ours


def test_zip_archives_are_no_arrays(tmp_path: Path) -> None:
    """`numpy.load` opens them, whatever their name; this one unpacks to more than it may."""
    path = tmp_path / "a.npy"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2**28 + 2**26))
    refused(lambda: load_npy(path), path, "expected a .npy file, found another kind")
    refused(lambda: read_image(path), path, "another kind of file")
    refused(lambda: open_sinogram(path), path, "another kind of file|expected a")


def test_png_whose_text_unpacks_to_far_more(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    values = chunk(b"IDAT", zlib.compress(bytes(72)))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**28 + 2**26)))
    path = put(tmp_path, "a.png", _START + chunk(b"IHDR", header) + text + values)
    refused(lambda: read_image(path), path, "damaged")
