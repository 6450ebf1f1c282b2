"""A factor and an offset for the logits of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET
from bayesnn.calibration.class_inputs import checked_labels, checked_scores
from bayesnn.calibration.newton import NoMinimumError
from bayesnn.calibration.vector_scaling_cost import VectorScalingCost
from bayesnn.checks import check_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorScaling:
    """Probabilities softmax(w ∘ z + b).

    Attributes:
        factor: w, [classes].
        offset: b, [classes]; they sum to 0.
    """

    factor: Float64[Tensor, " classes"]
    offset: Float64[Tensor, " classes"]

    def transform(self, logits: ArrayLike | Tensor) -> Tensor:
        """Return the recalibrated probabilities of classes.

        Args:
            logits: z, [n, classes].

        Returns:
            softmax(w ∘ z + b), like `logits`.

        Raises:
            ValueError: another number of classes than at the fit, or values that are not finite.
        """
        z = checked_scores(logits, "logits")
        if z.shape[1] != len(self.factor):
            raise ValueError(
                f"logits: expected {len(self.factor)} columns as at the fit, got {z.shape[1]}."
            )
        scaled = self.factor.to(z.device) * z.double() + self.offset.to(z.device)
        return scaled.softmax(-1).to(z.dtype)


def fit_vector_scaling(
    y: ArrayLike | Tensor,
    logits: ArrayLike | Tensor,
    *,
    penalty: float = 0.0,
    memory_budget: int = MEMORY_BUDGET,
) -> VectorScaling:
    """Learn from held-out points how to scale and shift the logits of each class.

    w and b minimise the mean of −log softmax(w ∘ z_i + b)[y_i] + ½ λ(‖w − 1‖² + ‖b‖²), which is
    convex, by Newton's method in float64 until nearly all digits are known. What changes no
    probability (a constant added to b) stays at w = 1, b = 0. Unlike a temperature, this can change
    which class is the likeliest, and a constant added to a row of logits changes the result: take
    logits and log probabilities for different things. Points are taken some at a time, whatever
    their number: beside the logits only the budget and some [2 classes, 2 classes] are needed.

    Args:
        y: classes of held-out points that the network has not seen, from 0, [n]; each at least
            once.
        logits: z, the network's for them, [n, classes].
        penalty: λ, at least 0; for few points.
        memory_budget: bytes that intermediate values of points may take.

    Returns:
        What turns logits into probabilities.

    Raises:
        ValueError: classes that are not the columns' numbers, a class without points, values that
            are not finite, a negative λ, a budget below 1, or, without λ, classes that are told
            apart without an error (w would be infinite).

    Source:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, ICML 2017, arXiv 1706.04599.

    Example:
        >>> fitted = fit_vector_scaling([0, 0, 0, 1, 1, 0], [[2.0, 0.0]] * 4 + [[0.0, 2.0]] * 2)
        >>> fitted.transform(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([[0.7500, 0.2500],
                [0.5000, 0.5000]])
    """
    if not 0 <= penalty < float("inf"):
        raise ValueError(f"penalty: expected a finite number of at least 0, got {penalty!r}.")
    z = checked_scores(logits, "logits")
    labels = checked_labels(y, z, "logits")
    counts = labels.bincount(minlength=z.shape[1]).double()
    missing = (counts == 0).nonzero().flatten().tolist()
    if missing:
        raise ValueError(
            f"y: expected held-out points of each of the {len(counts)} classes, got none of "
            f"{str(missing[:10])[1:-1]}; hold out more, or fit a temperature."
        )
    cost = VectorScalingCost.of(z, labels, penalty, check_count(memory_budget, "memory_budget"))
    log_share = counts.log() - counts.log().mean()
    try:
        best = cost.minimum(torch.cat([torch.zeros_like(log_share), log_share]))
    except NoMinimumError as error:
        raise ValueError(
            "logits: expected classes that overlap, got one that is told apart from others "
            "without an error, so that no factor is large enough; hold out more points or give a "
            "penalty, such as 1e-3."
        ) from error
    factor, offset = best.chunk(2)
    return VectorScaling(factor=factor / cost.unit, offset=offset)
