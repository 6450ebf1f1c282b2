"""NumPy: the values alone, [slices, rows, columns] float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ct.output.progress import Report
from ct.output.volume import Volume


def write_npy(path: Path, volume: Volume, report: Report) -> None:
    """Write a volume as a .npy array, without units or geometry.

    Args:
        path: the file to write.
        volume: what to write; one image becomes an array of two dimensions.
        report: told the slices that are done.
    """
    shape = volume.shape[1:] if volume.single else volume.shape
    # no memory map: its pages would count as the process's memory
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        for index, image in enumerate(volume):
            file.write(np.ascontiguousarray(image, dtype="<f4").tobytes())
            report(index + 1, len(volume))
