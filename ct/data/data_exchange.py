"""Data Exchange, the HDF5 layout of synchrotron beamlines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ct.data.angle_units import angles_in_radians
from ct.data.hdf5_file import datasets_named, hdf5_stack, plain, text_of
from ct.data.sinogram import SinogramFile
from ct.data.stack import Stack

_WHAT = "Data Exchange values [theta, y, x] or [y, theta, x]"


def is_data_exchange(file: h5py.File) -> bool:
    """Return whether an open HDF5 file has the layout: values in `exchange/data`."""
    return isinstance(file.get("exchange/data"), h5py.Dataset)


def open_data_exchange(file: h5py.File, path: Path, *, projections: bool = False) -> SinogramFile:
    """Read what a Data Exchange file says of itself.

    Values are `exchange/data`, with flats `exchange/data_white`, darks `exchange/data_dark` and
    angles `exchange/theta` (degrees, unless the attribute `units` says radians). The attribute
    `axes` says which axis is which; without it, the axis as long as theta is the views', and
    projections [theta, y, x] are the format's own order.

    Args:
        file: the open file.
        path: its name.
        projections: take the first axis for the views', whatever `axes` says.

    Returns:
        The description.

    Raises:
        ValueError: no angles that can be used, or arrays of other sizes than the data's.

    Source:
        F. De Carlo et al., Scientific data exchange: a schema for HDF5-based storage of raw and
        analyzed data, Journal of Synchrotron Radiation 21, 2014.
    """
    data = file["exchange/data"]
    theta = file.get("exchange/theta")
    angles, notes = None, ["no pixel size: lengths are in detector bins; give --pixel-size in mm"]
    if isinstance(theta, h5py.Dataset):
        units = text_of(theta, "units") or "degrees"
        angles = angles_in_radians(np.asarray(theta), units, f"{path}: exchange/theta")
    view_axis = 0 if projections else _view_axis(data, None if angles is None else len(angles))
    stack = hdf5_stack(path, "exchange/data", slice_axis=1 - view_axis, what=_WHAT)
    flats = _readings(file, path, "exchange/data_white", stack, view_axis)
    units = text_of(data, "units")
    return SinogramFile(
        stack=replace(stack, kind="Data Exchange HDF5"),
        angles=angles,
        values="counts" if flats is not None or units == "counts" else "",
        units=units,
        flats=flats,
        darks=_readings(file, path, "exchange/data_dark", stack, view_axis),
        notes=tuple(notes),
        metadata=_metadata(file),
    )


def _view_axis(data: h5py.Dataset, n_angles: int | None) -> int:
    axes = text_of(data, "axes").lower().replace(",", ":").split(":")
    if len(axes) == 3 and "theta" in axes[:2]:
        return axes.index("theta")
    if data.ndim == 3 and n_angles == data.shape[1] != data.shape[0]:
        return 1
    return 0


def _readings(file: h5py.File, path: Path, name: str, data: Stack, view_axis: int) -> Stack | None:
    """Return flats or darks as [slices, readings, detectors]."""
    readings = file.get(name)
    if not isinstance(readings, h5py.Dataset):
        return None
    axes = text_of(readings, "axes").lower().split(":")
    if len(axes) == 3 and axes[1] == "y":
        view_axis = 0
    elif len(axes) == 3 and axes[0] == "y":
        view_axis = 1
    stack = hdf5_stack(path, name, slice_axis=1 - view_axis, what=f"{name} [readings, y, x]")
    slices, _, detectors = stack.shape
    if (slices, detectors) != (data.shape[0], data.shape[2]):
        raise ValueError(
            f"{path}: {name}: expected {data.shape[0]} slices of {data.shape[2]} detectors, as "
            f"the data have, found shape {list(readings.shape)} ({datasets_named(file)})."
        )
    return stack


def _metadata(file: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in (("title", "exchange/title"), ("sample", "measurement/sample/name")):
        item = file.get(name)
        if isinstance(item, h5py.Dataset) and item.ndim == 0:
            found[key] = str(plain(item[()]))
    return found
