"""Data Exchange, the HDF5 layout of synchrotron beamlines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ct.data.angle_units import angles_of_dataset
from ct.data.hdf5_file import Contents, Dataset, hdf5_stack
from ct.data.sinogram import SinogramFile
from ct.data.stack import Stack

_WHAT = "Data Exchange values [theta, y, x] or [y, theta, x]"


def is_data_exchange(contents: Contents) -> bool:
    """Return whether an HDF5 file has the layout: values in `exchange/data`."""
    return contents.find("exchange/data") is not None


def open_data_exchange(contents: Contents, *, projections: bool = False) -> SinogramFile:
    """Read what a Data Exchange file says of itself.

    Values are `exchange/data`, with flats `exchange/data_white`, darks `exchange/data_dark` and
    angles `exchange/theta` (degrees, unless the attribute `units` says radians). The attribute
    `axes` says which axis is which; without it, the axis as long as theta is the views', and
    projections [theta, y, x] are the format's own order.

    Args:
        contents: of the file.
        projections: take the first axis for the views', whatever `axes` says.

    Returns:
        The description.

    Raises:
        ValueError: no angles that can be used, or arrays of other sizes than the data's.

    Source:
        F. De Carlo et al., Scientific data exchange: a schema for HDF5-based storage of raw and
        analyzed data, Journal of Synchrotron Radiation 21, 2014.
    """
    data, theta = contents.datasets["exchange/data"], contents.find("exchange/theta")
    angles, notes = None, ["no pixel size: lengths are in detector bins; give --pixel-size in mm"]
    if theta is not None:
        where = f"{contents.path}: exchange/theta"
        angles = angles_of_dataset(theta, "degrees", where)
    view_axis = 0 if projections else _view_axis(data, None if angles is None else len(angles))
    stack = hdf5_stack(contents, "exchange/data", slice_axis=1 - view_axis, what=_WHAT)
    flats = _readings(contents, "exchange/data_white", stack, view_axis)
    units = data.word("units")
    return SinogramFile(
        stack=replace(stack, kind="Data Exchange HDF5"),
        angles=angles,
        values="counts" if flats is not None or units == "counts" else "",
        units=units,
        flats=flats,
        darks=_readings(contents, "exchange/data_dark", stack, view_axis),
        notes=tuple(notes),
        metadata=_metadata(contents),
    )


def _view_axis(data: Dataset, n_angles: int | None) -> int:
    axes = data.word("axes").lower().replace(",", ":").split(":")
    if len(axes) == 3 and "theta" in axes[:2]:
        return axes.index("theta")
    shape = data.shape or ()
    if len(shape) == 3 and n_angles == shape[1] != shape[0]:
        return 1
    return 0


def _readings(contents: Contents, name: str, data: Stack, view_axis: int) -> Stack | None:
    """Return flats or darks as [slices, readings, detectors]."""
    readings = contents.find(name)
    if readings is None:
        return None
    axes = readings.word("axes").lower().split(":")
    if len(axes) == 3 and axes[1] == "y":
        view_axis = 0
    elif len(axes) == 3 and axes[0] == "y":
        view_axis = 1
    stack = hdf5_stack(contents, name, slice_axis=1 - view_axis, what=f"{name} [readings, y, x]")
    slices, _, detectors = stack.shape
    if (slices, detectors) != (data.shape[0], data.shape[2]):
        raise ValueError(
            f"{contents.path}: {name}: expected {data.shape[0]} slices of {data.shape[2]} "
            f"detectors, as the data have, found shape {list(readings.shape or ())} "
            f"({contents.named()})."
        )
    return stack


def _metadata(contents: Contents) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in (("title", "exchange/title"), ("sample", "measurement/sample/name")):
        item = contents.find(name)
        if item is not None and item.text is not None:
            found[key] = item.text
    return found
