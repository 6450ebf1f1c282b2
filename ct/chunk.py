"""A few slices of a scan file at a time: from measurements to images and what to say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ct.artefacts.stripes import remove_stripes
from ct.checkpoint import Checkpoint
from ct.data.measured import Measured
from ct.problem import Progress
from ct.result_metadata import Metadata, slice_record
from ct.slices import SliceSolver
from ct.units import hounsfield_scale, to_hounsfield

Images: TypeAlias = dict[str, Float32[np.ndarray, " slices *image"]]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some slices' images, as they go into a result file.

    Attributes:
        images: "mean", and "std" and "samples" where there are any, slices first.
        records: what is to be said of each slice, as JSON can hold it: `slice_record`, and how
            many of its rays were raised or missing.
    """

    images: Images
    records: list[Metadata]


@dataclass(frozen=True, kw_only=True)
class ChunkWork:
    """What is done with every chunk of a scan, from its measurements to values in the file.

    Attributes:
        noise_std: each ray's noise; None for what the scan knows of it, or an estimate.
        without_stripes: take stripes out first.
        mu_water: attenuation of water in 1/mm, for images in Hounsfield units; None leaves them.
    """

    noise_std: float | None
    without_stripes: bool = False
    mu_water: float | None = None

    def solve(
        self,
        solver: SliceSolver,
        numbers: list[int],
        measured: list[Measured],
        *,
        checkpoint: Checkpoint | None = None,
        progress: Progress | None,
    ) -> Chunk:
        """Reconstruct some slices.

        Args:
            solver: what all slices share.
            numbers: the slices' numbers in the scan, one after the other.
            measured: their measurements.
            checkpoint: where the work on each slice may leave its state; None for nowhere.
            progress: called with the steps of the method over these slices.

        Returns:
            Their images, and what is to be said of each.

        Raises:
            ValueError: a slice's noise cannot be estimated.
        """
        sinograms = torch.from_numpy(np.stack([one.values for one in measured]))
        solved = solver.solve(
            remove_stripes(sinograms) if self.without_stripes else sinograms,
            [noise_of(self.noise_std, one) for one in measured],
            first_slice=numbers[0],
            checkpoint=checkpoint,
            progress=progress,
        )
        images = {}
        for name in ("mean", "std", "samples"):
            values = [getattr(one.estimate, name) for one in solved]
            if all(value is not None for value in values):
                images[name] = torch.stack(values).cpu().numpy()
        if self.mu_water is not None:
            images = images_in_hounsfield(images, self.mu_water)
        records = [
            {
                **slice_record(index, one),
                "raised": ray.n_raised,
                "missing": ray.n_missing,
                "noise_std_source": _noise_source(self.noise_std, ray),
            }
            for index, one, ray in zip(numbers, solved, measured, strict=True)
        ]
        return Chunk(images=images, records=records)


def images_in_hounsfield(images: Images, mu_water: float) -> Images:
    """Convert attenuation in 1/mm to Hounsfield units; a standard deviation has no zero point.

    Args:
        images: "mean", and "std" and "samples" where there are any.
        mu_water: attenuation of water in 1/mm.

    Returns:
        The same in Hounsfield units.
    """
    scale = hounsfield_scale(mu_water)
    return {
        name: values * np.float32(scale) if name == "std" else to_hounsfield(values, mu_water)
        for name, values in images.items()
    }


def noise_of(given: float | None, measured: Measured) -> Tensor | None:
    """Return what is known of the noise of a slice's rays.

    Args:
        given: what the user said of every ray; None for nothing.
        measured: what the scan says of them.

    Returns:
        One number or one a ray, infinite for rays that were not measured; None where it must be
        estimated.
    """
    known = None if measured.noise_std is None else torch.from_numpy(measured.noise_std).double()
    if given is None:
        return known
    noise = torch.tensor(given, dtype=torch.float64)
    return noise if known is None else torch.where(known.isinf(), known, noise)


def _noise_source(given: float | None, measured: Measured) -> str:
    if given is not None:
        return "given"
    return "estimated" if measured.noise_std is None else "measured"
