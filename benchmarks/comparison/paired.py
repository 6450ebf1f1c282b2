"""Is one method better than another? Differences on the same points, by tests that fit the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean difference of two methods' scores.

    Attributes:
        mean: first minus second; below zero where the first has the smaller score.
        standard_error: of the mean.
        degrees_of_freedom: of its Student-t.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: int

    @property
    def standard_errors(self) -> float:
        """The mean in standard errors; ±inf without any scatter, 0 where the two are equal."""
        if self.standard_error == 0:
            return math.copysign(math.inf, self.mean) if self.mean else 0.0
        return self.mean / self.standard_error

    @property
    def p_value(self) -> float:
        """Two-sided probability of so large a difference, were there none."""
        return float(2 * stats.t.sf(abs(self.standard_errors), self.degrees_of_freedom))


def over_splits(first: ArrayLike, second: ArrayLike, *, test_share: float) -> Difference:
    """Return the difference over random splits of one data set into train and test parts.

    Splits share most of their points, so their scores are not independent, and the usual paired
    t-test finds differences that are not there. Nadeau and Bengio (2003, eq. 9 and corrected
    resampled t-test): Var(mean) = (1/J + n_test/n_train) S² over J splits.

    Args:
        first: score of the first method on each split, [splits].
        second: of the second, on the same splits.
        test_share: n_test over all points.

    Returns:
        The difference, with J − 1 degrees of freedom.

    Raises:
        ValueError: fewer than two splits, lengths that differ, values that are not finite, or a
            share that leaves no points to train or to test.
    """
    differences = _paired(first, second)
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a share between 0 and 1, got {test_share}.")
    count = len(differences)
    spread = differences.var(ddof=1)
    return Difference(
        mean=float(differences.mean()),
        standard_error=math.sqrt((1 / count + test_share / (1 - test_share)) * spread),
        degrees_of_freedom=count - 1,
    )


def over_clusters(first: ArrayLike, second: ArrayLike, *, cluster: ArrayLike) -> Difference:
    """Return the difference over points that are alike within clusters (flights of one day).

    The clusters are taken as independent, whatever stands within them: with r_c the sum of the
    differences' deviations from their mean in cluster c of C and n points,
    Var(mean) = C/(C − 1) Σ_c r_c² / n² (Liang and Zeger, 1986).

    Args:
        first: score of the first method at each point, [points].
        second: of the second, at the same points.
        cluster: which cluster each point belongs to, [points].

    Returns:
        The difference, with C − 1 degrees of freedom.

    Raises:
        ValueError: fewer than two clusters, lengths that differ, or values that are not finite.
    """
    differences = _paired(first, second)
    names, index = np.unique(np.asarray(cluster), return_inverse=True)
    if len(index) != len(differences) or len(names) < 2:
        raise ValueError(
            f"cluster: expected the cluster of each of {len(differences)} points, two clusters or "
            f"more, got {len(index)} points in {len(names)}."
        )
    sums = np.bincount(index, weights=differences - differences.mean())
    scale = len(names) / (len(names) - 1)
    return Difference(
        mean=float(differences.mean()),
        standard_error=math.sqrt(scale * float(np.square(sums).sum())) / len(differences),
        degrees_of_freedom=len(names) - 1,
    )


def _paired(first: ArrayLike, second: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            "scores: expected two lists of equal length, two or more, got shapes "
            f"{a.shape} and {b.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("scores: expected finite numbers, got NaN or infinity.")
    return a - b
