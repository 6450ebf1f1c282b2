"""What a simulation scans: images from a file, or phantoms free of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float32
from torch import Tensor

from ct.data.ellipses import EllipsePhantom
from ct.data.image_stack import ImageStack
from ct.data.simulated_scans import bin_means, with_divided_bins
from ct.geometry import ImageGrid, Scan
from ct.projectors.operator import projector

BySlice: TypeAlias = Callable[[int], Tensor]

SAME_DISCRETISATION = "the reconstruction's own"


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """Slices to be scanned.

    Attributes:
        grid: where the pixels of the truth are.
        n_slices: how many there are.
        units: of the truth.
        source: where it comes from, for the metadata.
        discretisation: how line integrals come about, in words.
        truth: from the number of a slice to what a perfect reconstruction is, [rows, columns].
        along: from a scan to what gives each slice's noiseless line integrals, [views, detectors].
    """

    grid: ImageGrid
    n_slices: int
    units: str
    source: str
    discretisation: str
    truth: BySlice
    along: Callable[[Scan], BySlice]


def scanned_images(
    stack: ImageStack,
    grid: ImageGrid,
    *,
    units: str,
    scale: float = 1.0,
    shift: float = 0.0,
    oversample: int = 1,
    samples_per_bin: int = 1,
) -> Scanned:
    """Return the images of a file, each value turned into `scale` · value + `shift`.

    Args:
        stack: the images.
        grid: where their pixels are.
        units: after scale and shift.
        scale: factor, such as 1/mm a unit.
        shift: summand.
        oversample: equal pixels into which each is divided along either axis before it is
            projected: 1 commits the inverse crime (the reconstruction's own projector), more
            avoid it; with many, line integrals are those of squares of one value.
        samples_per_bin: rays spread over each detector bin, whose mean it sees.

    Returns:
        What is scanned.
    """
    rows, columns = grid.shape
    fine = ImageGrid((oversample * rows, oversample * columns), grid.pixel_size / oversample)

    def truth(index: int) -> Float32[Tensor, "rows columns"]:
        values = torch.from_numpy(stack.read(index))
        return values if (scale, shift) == (1, 0) else scale * values + shift

    def divided(index: int) -> Float32[Tensor, "rows columns"]:
        return truth(index).repeat_interleave(oversample, 0).repeat_interleave(oversample, 1)

    own = oversample == samples_per_bin == 1
    parts = f"pixels divided by {oversample}, bins by {samples_per_bin}"
    return Scanned(
        grid=grid,
        n_slices=stack.shape[0],
        units=units,
        source=stack.source,
        discretisation=SAME_DISCRETISATION if own else parts,
        truth=truth,
        along=lambda scan: _projected(divided, fine, scan, samples_per_bin),
    )


def scanned_phantoms(
    make: Callable[[int], EllipsePhantom],
    grid: ImageGrid,
    *,
    n_slices: int,
    units: str,
    source: str,
    same_discretisation: bool = False,
    samples_per_bin: int = 1,
) -> Scanned:
    """Return phantoms of ellipses, with exact line integrals or those of their pixels.

    Args:
        make: from the number of a slice to its phantom.
        grid: where the pixels of the truth are; each is the phantom's mean over it.
        n_slices: how many there are.
        units: of the values.
        source: the phantom's name.
        same_discretisation: whether pixels are projected, by the reconstruction's own projector.
        samples_per_bin: rays spread over each detector bin, whose mean it sees.

    Returns:
        What is scanned.
    """

    def truth(index: int) -> Float32[Tensor, "rows columns"]:
        return make(index).image(grid).float()

    def along(scan: Scan) -> BySlice:
        if same_discretisation:
            return _projected(truth, grid, scan, samples_per_bin)
        return lambda i: make(i).sinogram(scan, samples_per_bin=samples_per_bin).float()

    return Scanned(
        grid=grid,
        n_slices=n_slices,
        units=units,
        source=source,
        discretisation=SAME_DISCRETISATION if same_discretisation else "exact line integrals",
        truth=truth,
        along=along,
    )


def _projected(images: BySlice, grid: ImageGrid, scan: Scan, samples: int) -> BySlice:
    operator = projector(grid, with_divided_bins(scan, samples))
    return lambda index: bin_means(operator(images(index)), samples)
