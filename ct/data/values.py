"""Counts or line integrals: telling them apart, and turning the first into the second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from bayesnn.checks import check_positive
from ct.data.sinogram_file import SinogramFile

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


def summarise(file: SinogramFile) -> ValueSummary:
    """Read every slice once and say what the values look like.

    Args:
        file: the opened sinogram.

    Returns:
        The summary.

    Raises:
        ValueError: a value is NaN or infinite, or a slice cannot be read.
    """
    minimum, maximum, total, n_zero, whole = np.inf, -np.inf, 0.0, 0, True
    for index in range(file.shape[0]):
        values = file.read(index)
        _check_finite(values, file, index)
        minimum = min(minimum, float(values.min()))
        maximum = max(maximum, float(values.max()))
        total += float(values.sum(dtype=np.float64))
        n_zero += int((values == 0).sum())
        whole = whole and bool((values == np.round(values)).all())
    return ValueSummary(
        minimum=minimum,
        maximum=maximum,
        mean=total / float(np.prod(file.shape)),
        n_zero=n_zero,
        whole=whole,
    )


def line_integrals(
    counts: Float32[np.ndarray, "views detectors"], i0: float
) -> tuple[Float32[np.ndarray, "views detectors"], int]:
    """Turn counts into line integrals of the attenuation: p = −log(counts / i0).

    A bin without a single count has no logarithm; it is set to half the smallest count above
    zero, and the number of such bins is returned so that it can be said.

    Args:
        counts: counts behind the object.
        i0: counts that an empty ray gives.

    Returns:
        The line integrals (no unit: attenuation in 1/mm times mm), and how many zeros were set.

    Raises:
        ValueError: `i0` is not above zero, a count is negative, or no count is above zero.

    Example:
        >>> p, n_zero = line_integrals(np.array([[1000.0, 10.0, 0.0]], dtype=np.float32), 1000.0)
        >>> p[0], n_zero
        (array([0.       , 4.6051702, 5.2983174], dtype=float32), 1)
    """
    i0 = check_positive(i0, "i0")
    if (counts < 0).any():
        raise ValueError(
            f"counts: expected none below 0, found {float(counts.min()):g}; if these are line "
            "integrals, say --line-integrals."
        )
    positive = counts > 0
    if not positive.any():
        raise ValueError("counts: expected some above 0, found only zeros; check the file.")
    floor = counts[positive].min() / 2
    ratio = np.where(positive, counts, floor).astype(np.float64) / i0
    return (0.0 - np.log(ratio)).astype(np.float32), int((~positive).sum())


def _check_finite(
    values: Float32[np.ndarray, "views detectors"], file: SinogramFile, index: int
) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        view, detector = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{file.path}: expected finite values, found {int(bad.sum())} NaN or infinite in slice "
            f"{index} (the first at view {view}, detector {detector}); repair or remove them."
        )
