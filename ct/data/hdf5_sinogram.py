"""Sinograms in HDF5: our own SINO.h5, and any file with a dataset of sinograms."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from ct.data.angle_units import angles_in_radians
from ct.data.data_exchange import is_data_exchange, open_data_exchange
from ct.data.hdf5_file import hdf5_stack, opened_hdf5, plain, text_of
from ct.data.sinogram import SinogramFile
from ct.geometry_json import geometry_from_json

OWN_FORMAT = "bayesnn-ct sinogram"
NOISE_STD = "noise_std"
"""Name of the dataset (one number a ray) and of the attribute (one a slice)."""


def open_hdf5_sinogram(
    path: Path, *, dataset: str | None = None, projections: bool = False
) -> SinogramFile:
    """Read what an HDF5 file says of its sinograms.

    Data Exchange is recognised by its dataset `exchange/data`. Any other file holds `sinogram`
    [slices, views, detectors] or [views, detectors], and may hold `angles` (radians, unless their
    attribute `units` says degrees), `noise_std` of the same shape as `sinogram` where that holds
    line integrals, and our attribute `geometry`.

    Args:
        path: the file.
        dataset: name of the dataset, where it is another.
        projections: whether the first axis is the views', as of a stack of projections.

    Returns:
        The description.

    Raises:
        ValueError: truncated, without the dataset, or with angles or a geometry that cannot be.
    """
    with opened_hdf5(path) as file:
        if is_data_exchange(file) and dataset in {None, "exchange/data", "/exchange/data"}:
            return open_data_exchange(file, path, projections=projections)
        attributes = {key: plain(value) for key, value in file.attrs.items()}
        angles = file.get("angles")
        angles = angles if isinstance(angles, h5py.Dataset) else None
        radians = None
        if angles is not None:
            units = text_of(angles, "units") or "radians"
            radians = angles_in_radians(np.asarray(angles), units, f"{path}: angles")
        has_noise = isinstance(file.get(NOISE_STD), h5py.Dataset)
    stack = hdf5_stack(path, dataset or "sinogram", slice_axis=1 if projections else 0)
    ray_noise = None
    if has_noise:
        ray_noise = hdf5_stack(path, NOISE_STD, what="noise_std of the same shape as the sinogram")
        if ray_noise.shape != stack.shape:
            raise ValueError(
                f"{path}: noise_std: expected the sinogram's shape {list(stack.shape)}, found "
                f"{list(ray_noise.shape)}; make them agree."
            )
    geometry = attributes.pop("geometry", None)
    noise_std = attributes.pop(NOISE_STD, None)
    try:
        return SinogramFile(
            stack=stack,
            angles=radians,
            geometry=None if geometry is None else geometry_from_json(str(geometry)),
            values=str(attributes.pop("values", "")),
            units=str(attributes.pop("units", "")),
            image_units=str(attributes.pop("image_units", "")),
            noise_std=None if noise_std is None else tuple(np.ravel(noise_std).tolist()),
            ray_noise=ray_noise,
            metadata=attributes,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
