"""DICOM: one image, several frames, packed values, and elements of any length."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from random import Random
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import mutated, put_extreme
from benchmarks.fuzzing.scan_readers import describe_file
from benchmarks.fuzzing.small_scan import IMAGE

_START = 132


def image(syntax: str, *, frames: int = 1, bits: int = 16, **attributes: Any) -> FileDataset:
    """Return a small CT image."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset("seed", {}, file_meta=meta, preamble=bytes(128))
    values = np.repeat(IMAGE[:1], frames, axis=0).astype(f"<u{bits // 8}")
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, "1.2.3", "CT"
    data.Rows, data.Columns, data.SamplesPerPixel = 8, 8, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    if frames > 1:
        data.NumberOfFrames = frames
    data.PixelSpacing = [0.5, 0.5]
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 1], [1, 0, 0, 0, 1, 0]
    data.RescaleSlope, data.RescaleIntercept, data.SeriesInstanceUID = 1.5, -1024, "1.2"
    data.PixelData = values.tobytes()
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


def saved(data: FileDataset) -> bytes:
    """Return the file."""
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def seeds() -> list[bytes]:
    """Return whole files."""
    nested = pydicom.Dataset()
    nested.PixelMeasuresSequence = Sequence([pydicom.Dataset()])
    packed = image(ExplicitVRLittleEndian, frames=2)
    packed.compress(RLELossless, generate_instance_uid=False)
    return [
        saved(image(ExplicitVRLittleEndian)),
        saved(image(ImplicitVRLittleEndian, frames=2)),
        saved(image(ExplicitVRLittleEndian, bits=8)),
        saved(image(DeflatedExplicitVRLittleEndian)),
        saved(packed),
        saved(image(ExplicitVRLittleEndian, SharedFunctionalGroupsSequence=Sequence([nested]))),
        saved(image(ImplicitVRLittleEndian, SharedFunctionalGroupsSequence=Sequence([nested]))),
    ]


def change_element(rng: Random, data: bytearray) -> None:
    """Write an extreme number into the value or length of an element that matters."""
    tags = (
        b"\x28\0\x10\0",
        b"\x28\0\x11\0",
        b"\x28\0\0\1",
        b"\x28\0\2\0",
        b"\x28\0\x08\0",
        b"\xe0\x7f\x10\0",
        b"\xfe\xff\0\xe0",
        b"\x28\0\x01\1",
        b"\x28\0\x02\1",
        b"\x28\0\x03\1",
        b"\x02\0\0\0",
        b"\x28\0\x30\0",
        b"\x28\0\x52\x10",
        b"\x28\0\x53\x10",
    )
    at = data.find(rng.choice(tags))
    if at >= 0:
        put_extreme(
            rng, data, at + rng.choice((4, 6, 8, 8, 8, 10, 12)), rng.choice((2, 2, 4)), "little"
        )


def change_text(rng: Random, data: bytearray) -> None:
    """Write another number where one stands as text, or another kind of value."""
    at = data.find(rng.choice((b"DS", b"IS", b"US", b"OW", b"UI", b"SQ", b"CS")), _START)
    if at < 0:
        return
    if rng.random() < 0.5:
        data[at : at + 2] = rng.choice((
            b"SQ",
            b"OB",
            b"UN",
            b"FL",
            b"DS",
            b"US",
            b"AT",
            b"OW",
            b"UT",
            b"ZZ",
        ))
    else:
        new = rng.choice((
            b"NaN ",
            b"1e99",
            b"-1  ",
            b"1\\2\\",
            b"\xff\xff\xff\xff",
            b"9999",
            b"0x10",
            b"    ",
        ))
        data[at + 4 : at + 8] = new


def change_deflated(rng: Random, data: bytearray) -> None:
    """Unpack what is deflated, change it, and pack it again, perhaps with far more behind."""
    at = data.find(b"1.2.840.10008.1.2.1.99")
    if at < 0:
        return
    length = struct.unpack_from("<I", data, _START + 8)[0] if len(data) > _START + 12 else 0
    start = _START + 12 + length
    try:
        content = bytearray(zlib.decompress(bytes(data[start:]), -15))
    except zlib.error:
        return
    rng.choice((change_element, change_text))(rng, content)
    content += bytes(rng.choice((0, 0, 0, 10**6)))
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    data[start:] = packer.compress(bytes(content)) + packer.flush()


def nest(rng: Random, data: bytearray) -> None:
    """Put a sequence in a sequence in a sequence, many times over."""
    at = data.find(b"\x08\0\x16\0")
    depth = rng.choice((2, 20, 400))
    if at >= 0:
        data[at:at] = (
            b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
        ) * depth


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    return mutated(rng, whole, change_element, change_element, change_text, change_deflated, nest)


DICOM = FileFormat(
    name="dicom",
    suffix=".dcm",
    seeds=seeds,
    mutate=mutate,
    read=describe_file,
    readers="describe_file, read_image",
)
