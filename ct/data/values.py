"""Counts or line integrals: telling them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from ct.data.sinogram import SinogramFile

BrokenBins: TypeAlias = Callable[[int], Bool[np.ndarray, " detectors"]]
"""From the number of a slice to the bins that do not measure."""

_LEAST_COUNTS = 100.0
"""Numbers whose largest is below this could be anything."""
_EMPTY_RAY = 0.01
"""Line integrals fall below this share of their largest where a ray meets next to nothing."""


@dataclass(frozen=True, kw_only=True)
class ValueSummary:
    """What the values of a sinogram look like, over all slices.

    Attributes:
        minimum: the smallest value.
        maximum: the largest value.
        mean: their mean.
        n_zero: how many are exactly zero.
        whole: whether all are whole numbers.
    """

    minimum: float
    maximum: float
    mean: float
    n_zero: int
    whole: bool

    @property
    def looks_like_counts(self) -> bool:
        """Whether they could be a detector's counts.

        None is negative, the largest is at least 100, and they are whole numbers, or (averaged or
        scaled counts) none is below a hundredth of the largest. In doubt they are counts, because
        counts ask for i0 where line integrals would silently give a wrong image.
        """
        return (
            self.minimum >= 0
            and self.maximum >= _LEAST_COUNTS
            and (self.whole or self.minimum >= _EMPTY_RAY * self.maximum)
        )


def summarise(file: SinogramFile, broken: BrokenBins | None = None) -> ValueSummary:
    """Read every slice once and say what the values look like.

    Args:
        file: the opened sinogram.
        broken: which bins of a slice do not measure; they do not count.

    Returns:
        The summary.

    Raises:
        ValueError: a value is NaN or infinite, or a slice cannot be read.
    """
    minimum, maximum, total, n_values, n_zero, whole = np.inf, -np.inf, 0.0, 0, 0, True
    for index in range(file.shape[0]):
        values = file.read(index)
        bad = ~np.isfinite(values)
        live = np.ones(file.shape[2], dtype=bool) if broken is None else ~broken(index)
        _check_finite(bad & live, file, index)
        values = values[:, live]
        minimum = min(minimum, float(values.min()))
        maximum = max(maximum, float(values.max()))
        total += float(values.sum(dtype=np.float64))
        n_values += values.size
        n_zero += int((values == 0).sum())
        whole = whole and bool((values == np.round(values)).all())
    return ValueSummary(
        minimum=minimum,
        maximum=maximum,
        mean=total / n_values,
        n_zero=n_zero,
        whole=whole,
    )


def _check_finite(bad: Bool[np.ndarray, "views detectors"], file: SinogramFile, index: int) -> None:
    if bad.any():
        view, detector = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{file.path}: expected finite values, found {int(bad.sum())} NaN or infinite in slice "
            f"{index} (the first at view {view}, detector {detector}); repair or remove them."
        )
