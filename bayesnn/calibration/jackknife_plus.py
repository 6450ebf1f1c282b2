"""Intervals from members that each were fitted without a part of the data: jackknife+ and CV+."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.class_inputs import whole_numbers
from bayesnn.calibration.conformal import check_level, quantile_place, warn_if_unbounded
from bayesnn.calibration.inputs import same_shaped
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_CHUNK = 2**24
"""Numbers at once: further points × training points."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JackknifePlus:
    """Intervals between quantiles of members' predictions minus and plus left-out residuals.

    Attributes:
        residuals: R_i = |y_i − μ₋ₖ₍ᵢ₎(x_i)| of the training points, [n].
        fold: k(i), which member was fitted without each point, [n].
    """

    residuals: Tensor
    fold: Tensor

    @property
    def n_members(self) -> int:
        """How many members there are, one a fold."""
        return int(self.fold.max()) + 1

    def interval(
        self, members: ArrayLike | Tensor, *, level: float = 0.95
    ) -> tuple[Tensor, Tensor]:
        """Return intervals whose coverage is near `level`, and guaranteed as `guaranteed` says.

        From the ⌊α(n + 1)⌋-th smallest of μ₋ₖ₍ᵢ₎(x) − R_i to the ⌈(1 − α)(n + 1)⌉-th smallest of
        μ₋ₖ₍ᵢ₎(x) + R_i, over the training points i.

        Args:
            members: predictions of the members that lack fold 0, 1, …, [n_members, *points].
            level: 1 − α, in (0, 1).

        Returns:
            Lower and upper ends, each of shape [*points]; infinite, with a warning, where there are
            fewer than level/(1 − level) training points.

        Raises:
            ValueError: another number of members than folds, values that are not finite, a level
                outside (0, 1).

        Note:
            At levels far below one half the ends may cross; both are their middle then.
        """
        check_level(level)
        values = as_finite_tensor(members, "members", ndim=range(1, 16))
        if len(values) != self.n_members:
            raise ValueError(
                f"members: expected {self.n_members} rows, one a fold, got {len(values)}."
            )
        place = quantile_place(len(self.residuals), level)
        points = values.flatten(1) if values.ndim > 1 else values[:, None]
        if warn_if_unbounded(len(self.residuals), level):
            upper = points.new_full(points.shape[1:], math.inf)
            lower = -upper
        else:
            step = max(1, _CHUNK // len(self.residuals))
            starts = range(0, points.shape[1], step)
            ends = [self._ends(points[:, i : i + step], place) for i in starts]
            lower, upper = torch.cat(ends, dim=1)
        return lower.reshape(values.shape[1:]), upper.reshape(values.shape[1:])

    def guaranteed(self, level: float) -> float:
        """Probability with which a further point falls into its interval at least.

        1 − 2α − min(2(1 − 1/K)/(n/K + 1), (1 − K/n)/(K + 1)) for K folds of one size of n
        exchangeable points, whatever their law and the members; 1 − 2α where each fold is one point
        (jackknife+). Members that hardly change with one fold cover 1 − α.

        Args:
            level: 1 − α, in (0, 1).

        Returns:
            The probability, at least 0.

        Raises:
            ValueError: a level outside (0, 1).

        Example:
            >>> one_a_fold = JackknifePlus(residuals=torch.ones(20), fold=torch.arange(20))
            >>> round(one_a_fold.guaranteed(0.95), 6)
            0.9
        """
        check_level(level)
        n, k = len(self.residuals), self.n_members
        lost = min(2 * (1 - 1 / k) / (n / k + 1), (1 - k / n) / (k + 1))
        return max(0.0, 1 - 2 * (1 - level) - lost)

    def _ends(self, members: Float[Tensor, "members points"], place: int) -> Tensor:
        left_out = members[self.fold.to(members.device)]
        residuals = self.residuals.to(members)[:, None]
        place_below = len(residuals) + 1 - place
        lower = (left_out - residuals).kthvalue(place_below, dim=0).values
        upper = (left_out + residuals).kthvalue(place, dim=0).values
        middle = lower + (upper - lower) / 2
        return torch.stack([lower.minimum(middle), upper.maximum(middle)])


def fit_jackknife_plus(
    y: ArrayLike | Tensor, left_out: ArrayLike | Tensor, fold: ArrayLike | Tensor
) -> JackknifePlus:
    """Learn from an ensemble whose members each lack a fold how wide its intervals have to be.

    Every point is trained on by all members but one, and calibrates by that one: no data is set
    aside. `JackknifePlus.guaranteed` states what holds in finite samples.

    Args:
        y: observations of all training points, [n].
        left_out: for each of them the prediction of the member that was fitted without it, [n];
            with members' predictions [K, n] these are `members[fold, range(n)]`.
        fold: which member that is, from 0 to K − 1, [n]; `range(n)` for jackknife+ itself. The
            members differ in their folds alone, so they share all settings.

    Returns:
        What turns members' predictions into intervals, at any level.

    Raises:
        ValueError: shapes that differ, values that are not finite, fewer than 2 folds, or a fold
            without points.

    Source:
        R. Barber, E. Candès, A. Ramdas, R. Tibshirani, Annals of Statistics 49, 2021, arXiv
        1905.02928, theorems 1 and 4.

    Example:
        >>> fitted = fit_jackknife_plus([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1])
        >>> lower, upper = fitted.interval([[1.0], [2.0]], level=0.6)
        >>> lower.tolist(), upper.tolist()
        ([0.0], [3.0])
    """
    y, left_out = same_shaped(y=y, left_out=left_out)
    if y.ndim != 1:
        raise ValueError(f"y: expected 1 dimension, got shape {tuple(y.shape)}; reshape it.")
    numbers = whole_numbers(fold, "fold").to(y.device)
    if numbers.shape != y.shape:
        raise ValueError(
            f"fold: expected the shape {tuple(y.shape)} of y, got {tuple(numbers.shape)}."
        )
    sizes = numbers.bincount()
    if len(sizes) < 2 or bool((sizes == 0).any()):
        raise ValueError(
            "fold: expected at least 2 folds, numbered from 0 without gaps, got the numbers "
            f"{sorted(set(numbers.tolist()))[:10]}."
        )
    return JackknifePlus(residuals=(y - left_out).abs(), fold=numbers)
