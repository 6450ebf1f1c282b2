"""The mean over a region of a result file, with its interval, from the joint samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ct.data.images import read_image
from ct.data.result_file import open_reconstruction
from ct.result import Reconstruction, RegionMean


@dataclass(frozen=True, kw_only=True)
class RegionOfFile:
    """A region's mean in each slice, or one through all slices.

    Attributes:
        mean: posterior means, one a slice, or one where the region goes through the slices.
        std: their standard deviations.
        lower: lower ends of the intervals.
        upper: upper ends.
        level: what the intervals shall cover.
        n_pixels: pixels of the region, in a slice or in all.
        n_samples: samples behind the numbers.
        slices: the slices' numbers in the scan.
        units: the image's units.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    level: float
    n_pixels: int
    n_samples: int
    slices: tuple[int, ...]
    units: str


def region_of_file(path: Path, mask: Path, *, level: float = 0.95) -> RegionOfFile:
    """Return the mean over a region, as `Reconstruction.region` does, from files.

    Args:
        path: REC.h5, with samples.
        mask: an image that `read_image` knows, of the result's rows and columns, above 0 inside.
            One slice is the region of every slice; a stack as long as the result is one region
            through all slices.
        level: what the interval shall cover.

    Returns:
        The region's mean, in each slice or through all.

    Raises:
        ValueError: a file cannot be used, the mask does not fit or is empty, or there are no
            samples.
    """
    image = read_image(mask)
    with open_reconstruction(path) as stored:
        n_slices, shape = len(stored), stored.grid.shape
        metadata = stored.metadata
        if image.shape[1:] != shape or image.shape[0] not in {1, n_slices}:
            raise ValueError(
                f"{mask}: expected a mask of {shape[0]}×{shape[1]} pixels, in one slice or in "
                f"{n_slices}, got {image.shape[1]}×{image.shape[2]} in {image.shape[0]}."
            )
        if image.shape[0] == 1:
            inside = torch.from_numpy(image.read(0) > 0)
            found = [stored.read(place).region(inside) for place in range(n_slices)]
        else:
            through = torch.stack([torch.from_numpy(image.read(k) > 0) for k in range(n_slices)])
            # the others need not be in memory
            places = [place for place in range(n_slices) if bool(through[place].any())] or [0]
            found = [Reconstruction.load(path, slices=places).region(through[places])]
    return _told(found, level, metadata.get("slices", range(n_slices)), metadata["units"])


def _told(
    found: list[RegionMean], level: float, slices: list[int] | range, units: str
) -> RegionOfFile:
    intervals = [one.interval(level) for one in found]
    return RegionOfFile(
        mean=tuple(float(one.mean) for one in found),
        std=tuple(float(one.std) for one in found),
        lower=tuple(float(lower) for lower, _ in intervals),
        upper=tuple(float(upper) for _, upper in intervals),
        level=level,
        n_pixels=found[0].n_pixels,
        n_samples=found[0].n_samples,
        slices=tuple(slices),
        units=units,
    )
