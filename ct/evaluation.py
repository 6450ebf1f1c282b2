"""How good a reconstruction and its error bars are, where the truth is known."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from ct.data.images import read_image
from ct.data.result_file import open_reconstruction
from ct.result import Reconstruction
from ct.result_metadata import Metadata
from ct.slice_scores import SliceScores, mean_scores, score_slice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a reconstruction.

    Attributes:
        mean: means over the slices.
        slices: each slice's scores.
        units: the image's units.
    """

    mean: SliceScores
    slices: tuple[SliceScores, ...]
    units: str = ""

    def worst(self) -> dict[str, int]:
        """Return the places of the slices with the least PSNR and the greatest calibration errors.

        Returns:
            Under "psnr", "ece" and, by region, "ece, body" and "ece, edges"; without error bars
            the first alone.
        """
        places = range(len(self.slices))
        found = {"psnr": min(places, key=lambda place: self.slices[place].psnr)}
        for name in (None, *self.mean.regions):
            errors = {
                place: scores.ece
                for place in places
                if (scores := self.slices[place].uncertainty_of(name)) is not None
            }
            if errors:
                key = "ece" if name is None else f"ece, {name}"
                found[key] = max(errors, key=lambda place: errors[place])
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, for JSON."""
        return {**dataclasses.asdict(self), "worst": self.worst()}


def evaluate(reconstruction: Reconstruction, truth: ArrayLike | Tensor) -> Evaluation:
    """Compare a reconstruction and its error bars with the truth, slice by slice.

    The range of a slice is the truth's, largest minus smallest value. Nothing is fitted to the
    truth. Coverage stands beside width, and beside a baseline that has the same root mean square
    deviation in every pixel: error bars that do no better have not said where the errors are.

    Args:
        reconstruction: mean and, where there is one, standard deviation.
        truth: image [rows, columns] or [slices, rows, columns], like the mean.

    Returns:
        Scores of each slice, and their means.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a slice of truth that is
            constant.
    """
    true = _stacked(as_finite_tensor(truth, "truth", ndim=(2, 3), dtype=torch.float64))
    mean = _stacked(reconstruction.mean)
    _check_shape(tuple(true.shape), tuple(mean.shape))
    is_stack = reconstruction.mean.ndim == 3
    return _evaluation(
        (
            (reconstruction.single(i) if is_stack else reconstruction, true[i])
            for i in range(true.shape[0])
        ),
        reconstruction.metadata,
    )


def evaluate_file(
    path: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Compare REC.h5 with an image file, one slice of each in memory at a time.

    Where the truth has more slices than the result, those are taken whose numbers the result
    gives (it was made from a part of the scan).

    Args:
        path: the reconstruction.
        truth: any image or stack that `read_image` knows, such as .npy, TIFF, PNG or DICOM.
        progress: called with (slices done, slices in all).

    Returns:
        The scores.

    Raises:
        ValueError: a file cannot be used, or they do not fit.
    """
    image = read_image(truth)
    with open_reconstruction(path) as stored:
        indices = list(range(image.shape[0]))
        numbers = stored.metadata.get("slices", indices)
        if len(numbers) < len(indices) and set(numbers) <= set(indices):
            indices = numbers
        _check_shape((len(indices), *image.shape[1:]), (len(stored), *stored.grid.shape))
        _check_units(image.units, stored.metadata.get("units", ""))

        def pairs() -> Iterator[tuple[Reconstruction, Float[Tensor, "rows columns"]]]:
            for place, index in enumerate(indices):
                one = as_finite_tensor(image.read(index), f"truth, slice {index}", ndim=(2,))
                yield stored.read(place), one.double()
                if progress is not None:
                    progress(place + 1, len(indices))

        return _evaluation(pairs(), stored.metadata)


def _evaluation(
    pairs: Iterable[tuple[Reconstruction, Float[Tensor, "rows columns"]]], metadata: Metadata
) -> Evaluation:
    scores = tuple(score_slice(one, truth) for one, truth in pairs)
    return Evaluation(mean=mean_scores(scores), slices=scores, units=metadata.get("units", ""))


def _check_shape(truth: tuple[int, ...], mean: tuple[int, ...]) -> None:
    if truth != mean:
        raise ValueError(
            f"truth: expected the reconstruction's shape {list(mean)} (slices, rows, columns), got "
            f"{list(truth)}; give the image that belongs to it."
        )


def _check_units(truth: str, mean: str) -> None:
    if {truth, mean} == {"HU", "1/mm"}:
        raise ValueError(
            f"truth: expected the reconstruction's units, {mean}, got {truth}; reconstruct with "
            "--hu and --mu-water, or convert the image."
        )


def _stacked(values: Tensor) -> Float[Tensor, "slices rows columns"]:
    return values if values.ndim == 3 else values[None]
