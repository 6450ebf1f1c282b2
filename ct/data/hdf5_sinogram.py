"""Sinograms in HDF5: our own SINO.h5, and any file with a dataset of sinograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ct.data.angle_units import angles_of_dataset
from ct.data.data_exchange import is_data_exchange, open_data_exchange
from ct.data.hdf5_file import hdf5_contents, hdf5_stack
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
    contents = hdf5_contents(path)
    if dataset in {None, "exchange/data", "/exchange/data"} and is_data_exchange(contents):
        return open_data_exchange(contents, projections=projections)
    attributes = dict(contents.attributes)
    angles = contents.find("angles")
    radians = None if angles is None else angles_of_dataset(angles, "radians", f"{path}: angles")
    stack = hdf5_stack(contents, dataset or "sinogram", slice_axis=1 if projections else 0)
    ray_noise = None
    if contents.find(NOISE_STD) is not None:
        what = "noise_std of the same shape as the sinogram"
        ray_noise = hdf5_stack(contents, NOISE_STD, what=what)
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
