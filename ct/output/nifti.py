"""NIfTI: the header by nibabel, the values as a stream."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ct.data.own_files import MARK
from ct.output.progress import Report
from ct.output.volume import Volume

_NIFTI1_LARGEST = 32767
_SCANNER = 1  # code of coordinates that the scanner's geometry gives


def write_nifti(path: Path, volume: Volume, report: Report) -> None:
    """Write a volume as float32, with x, y and z in mm in the affine.

    The array is [column, row, slice]; world coordinates are RAS+, that is (−x, y, z) in the terms
    of `Volume`, so that both NIfTI and DICOM put a point of the object in the same place.

    Args:
        path: the file to write; compressed where its name ends in .gz.
        volume: what to write.
        report: told the slices that are done.
    """
    header = _header(volume)
    with _opened(path) as file:
        header.write_to(file)
        file.write(b"\0" * (int(header["vox_offset"]) - file.tell()))
        for index, image in enumerate(volume):
            # row by row is column first for NIfTI
            file.write(np.ascontiguousarray(image, dtype="<f4").tobytes())
            report(index + 1, len(volume))


def _header(volume: Volume) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    slices, rows, columns = volume.shape
    large = max(volume.shape) > _NIFTI1_LARGEST
    kind: Any = Nifti2Header if large else Nifti1Header
    header = kind(endianness="<")
    size, spacing = volume.pixel_size, volume.spacing
    affine = np.diag([-size, -size, spacing, 1.0])
    affine[:3, 3] = size * (columns - 1) / 2, size * (rows - 1) / 2, volume.height(0)
    header.set_data_dtype(np.float32)
    header.set_data_shape((columns, rows, slices))
    header.set_zooms((size, size, spacing))
    header.set_sform(affine, code=_SCANNER)
    header.set_qform(affine, code=_SCANNER)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1.0, 0.0)
    units = f" ({volume.units})" if volume.units else ""
    header["descrip"] = f"{volume.description}{units}".encode("ascii", "replace")[:79]
    header["intent_name"] = MARK.encode("ascii")
    header["vox_offset"] = header.single_vox_offset
    return header


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if path.suffix != ".gz":
        with path.open("wb") as plain:
            yield plain
        return
    # no name and no time inside: the same volume gives the same bytes
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 3, raw, mtime=0) as packed:
        yield packed  # type: ignore[misc]
