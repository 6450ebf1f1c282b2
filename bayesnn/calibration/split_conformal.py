"""Intervals around predictions from residuals of held-out points, whatever the residuals' law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.conformal import bounding_quantile
from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitConformal:
    """Intervals m ± q·σ, where q is the conformal quantile of |y − m|/σ of held-out points.

    Attributes:
        scores: |y − m|/σ of the held-out points, [n]; |y − m| where no σ was given.
        standardised: whether σ was given, and therefore has to be given for intervals.
    """

    scores: Tensor
    standardised: bool

    def interval(
        self,
        mean: ArrayLike | Tensor,
        std: ArrayLike | Tensor | None = None,
        *,
        level: float = 0.95,
    ) -> tuple[Tensor, Tensor]:
        """Return intervals that hold further observations with probability `level` at least.

        Args:
            mean: m, predictions of any shape.
            std: σ, above 0, like `mean` or a single number; only where the fit had it.
            level: 1 − α, in (0, 1).

        Returns:
            Lower and upper ends, each like `mean`; infinite, with a warning, where there are fewer
            than level/(1 − level) held-out points.

        Raises:
            ValueError: shapes that differ, values that are not finite, a σ not above 0, a σ where
                the fit had none or the reverse, a level outside (0, 1).
        """
        if (std is not None) != self.standardised:
            had, got = ("one", "none") if self.standardised else ("none", "one")
            raise ValueError(f"std: the fit had {had}, got {got}; give both the same.")
        mean, std = _with_scale(std, mean=mean)
        half = bounding_quantile(self.scores, level).to(mean) * std
        return mean - half, mean + half


def fit_split_conformal(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor | None = None
) -> SplitConformal:
    """Learn from held-out points how wide intervals around predictions have to be.

    With q the ⌈(1 − α)(n + 1)⌉-th smallest score |y − m|/σ, a further point that is exchangeable
    with the n held-out ones falls into its interval with probability

        1 − α ≤ P(|y − m| ≤ q·σ) < 1 − α + 1/(n + 1),

    the second part where no two scores are equal. The probability is over held-out points and the
    further one together: for one set of held-out points, the share of all further points that is
    covered is Beta(k, n + 1 − k) distributed, k = ⌈(1 − α)(n + 1)⌉. It holds on average over
    inputs, not at each input; good σ make intervals wide where errors are large.

    Args:
        y: held-out observations that no part of the prediction has seen, of any shape.
        mean: m, their predictions, like `y`.
        std: σ, above 0, like `y` or a single number; None for intervals of one width.

    Returns:
        What turns predictions into intervals, at any level.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0.

    Source:
        J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, Journal of the American
        Statistical Association 113, 2018, theorem 2.2 and section 5.2; V. Vovk, Asian Conference on
        Machine Learning, 2012, for the Beta law.

    Example:
        >>> fitted = fit_split_conformal([1.0, -2.0, 3.0, -4.0], [0.0, 0.0, 0.0, 0.0])
        >>> lower, upper = fitted.interval([10.0], level=0.6)
        >>> lower.tolist(), upper.tolist()
        ([7.0], [13.0])
    """
    y, mean, scale = _with_scale(std, y=y, mean=mean)
    return SplitConformal(scores=((y - mean).abs() / scale).flatten(), standardised=std is not None)


def _with_scale(std: ArrayLike | Tensor | None, **named: ArrayLike | Tensor) -> list[Tensor]:
    """Return the inputs and σ, of one shape; a σ of 1 where there is none."""
    if std is None:
        tensors = same_shaped(**named)
        return [*tensors, torch.ones_like(tensors[0])]
    tensors = same_shaped(**named, std=std)
    if not bool((tensors[-1] > 0).all()):
        raise ValueError(f"std: expected values above 0, got {float(tensors[-1].min()):.3g}.")
    return tensors
