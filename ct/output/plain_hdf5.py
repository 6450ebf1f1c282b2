"""Plain HDF5: one dataset with units and geometry, for programs that know nothing of ours."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from ct.data.disk_room import reserve, write_at
from ct.data.result_layout import create_result
from ct.geometry_json import geometry_to_json
from ct.output.progress import Report
from ct.output.volume import Volume

FORMAT = "bayesnn-ct volume"


def write_hdf5(path: Path, volume: Volume, report: Report) -> None:
    """Write a volume as the dataset that its quantity names: mean, std, lower or upper.

    The dataset's attributes are description, units, pixel_size_mm, slice_spacing_mm and
    first_slice_z_mm; the file's attribute geometry is the scan's, as in a result file, and its
    attribute format says whose it is.

    Args:
        path: the file to write.
        volume: what to write.
        report: told the slices that are done.
    """
    layout = create_result(path, {volume.what: volume.shape})
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file.attrs["format"] = f"{FORMAT} 1"
        file.attrs["geometry"] = geometry_to_json(volume.source.grid, volume.source.scan)
        data = file[volume.what]
        data.attrs["description"] = volume.description
        data.attrs["units"] = volume.units
        data.attrs["pixel_size_mm"] = volume.pixel_size
        data.attrs["slice_spacing_mm"] = volume.spacing
        data.attrs["first_slice_z_mm"] = volume.height(0)
    file_number = os.open(path, os.O_RDWR)
    try:
        reserve(file_number, path.stat().st_size)
        for index, image in enumerate(volume):
            values = np.ascontiguousarray(image, dtype="<f4").reshape(-1).view(np.uint8).data
            write_at(file_number, values, layout.place(volume.what, index))
            report(index + 1, len(volume))
    finally:
        os.close(file_number)
