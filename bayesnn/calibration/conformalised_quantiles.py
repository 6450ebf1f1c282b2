"""Predicted quantiles, moved by what held-out points ask for (CQR)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.calibration.conformal import bounding_quantile
from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class ConformalQuantiles:
    """Intervals [l − q, u + q], where q is the conformal quantile of max(l − y, y − u).

    Attributes:
        scores: max(l − y, y − u) of the held-out points, [n]; below 0 inside of the interval.
    """

    scores: Tensor

    def interval(
        self, lower: ArrayLike | Tensor, upper: ArrayLike | Tensor, *, level: float = 0.95
    ) -> tuple[Tensor, Tensor]:
        """Return intervals that hold further observations with probability `level` at least.

        Args:
            lower: l, predicted lower ends of any shape.
            upper: u, predicted upper ends, like `lower`.
            level: 1 − α, in (0, 1).

        Returns:
            Lower and upper ends, each like `lower`. Where q < 0 shrinks an interval to less than
            nothing, both are its middle. Infinite, with a warning, where there are fewer than
            level/(1 − level) held-out points.

        Raises:
            ValueError: shapes that differ, values that are not finite, a level outside (0, 1).
        """
        lower, upper = same_shaped(lower=lower, upper=upper)
        margin = bounding_quantile(self.scores, level).to(lower)
        middle = lower + (upper - lower) / 2
        empty = upper - lower < -2 * margin
        return (
            middle.where(empty, lower - margin),
            middle.where(empty, upper + margin),
        )


def fit_conformal_quantiles(
    y: ArrayLike | Tensor, lower: ArrayLike | Tensor, upper: ArrayLike | Tensor
) -> ConformalQuantiles:
    """Learn from held-out points how far predicted quantiles have to be moved.

    With q the ⌈(1 − α)(n + 1)⌉-th smallest score max(l − y, y − u), a further point that is
    exchangeable with the n held-out ones falls into [l − q, u + q] with probability at least
    1 − α, and below 1 − α + 1/(n + 1) where no two scores are equal and no interval is empty. This
    holds whatever l and u are, even where they cross; the closer they are to the true quantiles at
    α/2 and 1 − α/2, the better the coverage at each input.

    Args:
        y: held-out observations that no part of the prediction has seen, of any shape.
        lower: l, the predicted quantile at α/2, like `y`.
        upper: u, the predicted quantile at 1 − α/2, like `y`.

    Returns:
        What turns predicted quantiles into intervals.

    Raises:
        ValueError: shapes that differ, values that are not finite.

    Source:
        Y. Romano, E. Patterson, E. Candès, NeurIPS 2019, arXiv 1905.03222, theorem 1.

    Example:
        >>> fitted = fit_conformal_quantiles([0.0, 3.0, 1.0], [0.5, 0.5, 0.5], [1.5, 1.5, 1.5])
        >>> lower, upper = fitted.interval([0.0], [1.0], level=0.75)
        >>> lower.tolist(), upper.tolist()
        ([-1.5], [2.5])
    """
    y, lower, upper = same_shaped(y=y, lower=lower, upper=upper)
    return ConformalQuantiles(scores=(lower - y).maximum(y - upper).flatten())
