"""NIfTI, which is written and never read: what looks at such a file must refuse or recognise it."""

from __future__ import annotations

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import mutated, put_extreme
from benchmarks.fuzzing.small_scan import IMAGE
from ct.data.images import read_image
from ct.data.own_files import is_marked


def _image(kind: type, dtype: str, *, ours: bool) -> bytes:
    image = kind(IMAGE.astype(dtype).T, np.eye(4))
    if ours:
        image.header["intent_name"] = b"bayesnn-ct"
    file = BytesIO()
    image.file_map["image"].fileobj = file
    image.to_file_map()
    return file.getvalue()


def seeds() -> list[bytes]:
    """Return whole files."""
    plain = [
        _image(kind, dtype, ours=ours)
        for kind in (nib.Nifti1Image, nib.Nifti2Image)
        for dtype, ours in (("float32", True), ("int16", False))
    ]
    return plain + [gzip.compress(one, mtime=0) for one in plain]


def change_header(rng: Random, data: bytearray) -> None:
    """Write an extreme number into the header: dimensions, type, offset, scaling."""
    put_extreme(
        rng,
        data,
        rng.choice((0, 40, 42, 44, 46, 70, 72, 76, 108, 112, 16, 24, 12, 14)),
        rng.choice((2, 4, 8)),
    )


def change_packed(rng: Random, data: bytearray) -> None:
    """Unpack, change, and pack again; or pack far more than it seems."""
    try:
        content = bytearray(gzip.decompress(bytes(data)))
    except (OSError, EOFError, zlib.error):
        return
    change_header(rng, content)
    if rng.random() < 0.1:
        content += bytes(5 * 10**6)
    data[:] = gzip.compress(bytes(content), 1, mtime=0)


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    return mutated(rng, whole, change_header, change_packed)


def read(path: Path) -> None:
    """Look at the file as outputs that may be replaced are, and as an image."""
    for name in ("a.nii", "a.nii.gz"):
        twin = path.with_name(name)
        twin.unlink(missing_ok=True)
        twin.hardlink_to(path)
        is_marked(twin)
    read_image(path)


NIFTI = FileFormat(
    name="nifti",
    suffix=".nii",
    seeds=seeds,
    mutate=mutate,
    read=read,
    readers="is_marked, read_image (there is no reader of NIfTI: it is written only)",
)
