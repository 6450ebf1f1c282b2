"""TIFF: one page a slice, float32, with the pixel size in the resolution."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ct.data.own_files import MARK
from ct.output.progress import Report
from ct.output.volume import Volume

_LARGEST_CLASSIC = 2**32 - 2**25


def write_tiff(path: Path, volume: Volume, report: Report) -> None:
    """Write a volume page by page; BigTIFF where it does not fit into 4 GB.

    Resolution is in pixels a centimetre. The first page's description is JSON: what the values
    are, their units, pixel_size_mm, slice_spacing_mm and first_slice_z_mm.

    Args:
        path: the file to write.
        volume: what to write.
        report: told the slices that are done.
    """
    import tifffile

    n_bytes = 4 * int(np.prod(volume.shape))
    description = {
        "description": volume.description,
        "units": volume.units,
        "pixel_size_mm": volume.pixel_size,
        "slice_spacing_mm": volume.spacing,
        "first_slice_z_mm": volume.height(0),
    }
    with tifffile.TiffWriter(path, bigtiff=n_bytes > _LARGEST_CLASSIC) as file:
        file.write(
            _pages(volume, report),
            shape=volume.shape,
            dtype="<f4",
            photometric="minisblack",
            description=json.dumps(description),
            metadata=None,
            resolution=(10 / volume.pixel_size, 10 / volume.pixel_size),
            resolutionunit="CENTIMETER",
            software=MARK,
        )


def _pages(volume: Volume, report: Report) -> Iterator[Float32[np.ndarray, "rows columns"]]:
    for index, image in enumerate(volume):
        yield image
        report(index + 1, len(volume))
