"""DICOM: sizes and lengths that are claimed, what is deflated, nested, or of endless parts."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from benchmarks.fuzzing.dicom_files import image, saved
from ct.data.images import read_image
from tests.hostile.refusals import put, refused, soon_in_little_memory


@pytest.mark.parametrize(
    "changes",
    [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 2**31 - 1}],
    ids=["sides", "frames"],
)
def test_dicom_that_claims_more_than_it_holds(tmp_path: Path, changes: dict[str, int]) -> None:
    path = put(tmp_path, "a.dcm", saved(image(ExplicitVRLittleEndian, **changes)))
    refused(lambda: read_image(path), path, "an image that a file of")


def test_dicom_elements_longer_than_the_file(tmp_path: Path) -> None:
    content = bytearray(saved(image(ExplicitVRLittleEndian)))
    struct.pack_into("<I", content, content.find(b"\xe0\x7f\x10\0OW") + 8, 2**32 - 2)
    path = put(tmp_path, "a.dcm", bytes(content))
    with soon_in_little_memory(path):
        assert read_image(path).shape == (1, 8, 8)  # what is there is enough


def test_dicom_that_is_deflated_from_far_more(tmp_path: Path) -> None:
    content = saved(image(DeflatedExplicitVRLittleEndian))
    start = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = packer.compress(zlib.decompress(content[start:], -15))
    bomb += b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
    path = put(tmp_path, "a.dcm", content[:start] + bomb)
    refused(lambda: read_image(path), path, "when unpacked")
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path).shape, (1, 8, 8))


@pytest.mark.parametrize("depth", [3, 300, 3000])
def test_dicom_sequences_in_sequences(tmp_path: Path, depth: int) -> None:
    content = saved(image(ExplicitVRLittleEndian))
    at = content.rfind(b"\x08\0\x16\0")
    nested = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * depth
    path = put(tmp_path, "a.dcm", content[:at] + nested + content[at:])
    refused(lambda: read_image(path), path, "expected a whole DICOM image")


def test_dicom_of_a_million_empty_parts(tmp_path: Path) -> None:
    """pydicom makes an object of each, 60 µs and 2 KB for 8 bytes of the file."""
    content = saved(image(ExplicitVRLittleEndian))
    at = content.rfind(b"\x28\0\x10\0")
    items = b"\xfe\xff\0\xe0\0\0\0\0" * 10**6
    listed = b"\x28\0\x10\0SQ\0\0" + struct.pack("<I", len(items)) + items
    path = put(tmp_path, "a.dcm", content[:at] + listed + content[at + 10 :])
    refused(lambda: read_image(path), path, "expected a whole DICOM image")


def test_dicom_of_fifty_thousand_elements_in_a_few_kilobytes(tmp_path: Path) -> None:
    """Zeros that are deflated: each eight of them are an element."""
    content = saved(image(DeflatedExplicitVRLittleEndian))
    start = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    elements = zlib.decompress(content[start:], -15) + bytes(400_000)
    content = content[:start] + packer.compress(elements) + packer.flush()
    path = put(tmp_path, "a.dcm", content)
    assert len(content) < 2**13
    with soon_in_little_memory(path):
        assert read_image(path).shape == (1, 8, 8)


def test_dicom_of_endless_elements_is_left_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time grows with the file; here there is none, so that the test needs none either."""
    path = put(tmp_path, "a.dcm", saved(image(ExplicitVRLittleEndian)) + bytes(10**5))
    assert read_image(path).shape == (1, 8, 8)
    monkeypatch.setattr("ct.data.honest_stream._SECONDS", -3600.0)
    refused(lambda: read_image(path), path, "reading it does not come to an end")
