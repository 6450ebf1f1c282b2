"""One temperature for the logits of all classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, row_chunks
from bayesnn.calibration.class_inputs import checked_labels, checked_scores
from bayesnn.calibration.newton import Derivatives, newton_minimum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


_HELD = 6
"""float64 numbers at once for each logit of a chunk."""


@dataclass(frozen=True, kw_only=True)
class TemperatureScaling:
    """Probabilities softmax(z/T).

    Attributes:
        temperature: T; above 1 the logits were too sure of themselves.
    """

    temperature: float

    def transform(self, logits: ArrayLike | Tensor) -> Tensor:
        """Return the recalibrated probabilities of classes.

        Args:
            logits: z, [n, classes].

        Returns:
            softmax(z/T), like `logits`.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        return (checked_scores(logits, "logits") / self.temperature).softmax(-1)


def fit_temperature(
    y: ArrayLike | Tensor, logits: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> TemperatureScaling:
    """Learn from held-out points how sure of themselves logits may be.

    T minimises −Σ_i log softmax(z_i/T)[y_i], which is convex in 1/T, by Newton's method in float64
    until 1/T is known to nearly all digits. It never changes which class is the likeliest. Classes
    that no held-out point belongs to do no harm: the one parameter is everybody's. Points are taken
    some at a time, whatever their number: beside the logits only the budget is needed.

    Args:
        y: classes of held-out points that the network has not seen, from 0, [n].
        logits: z, the network's for them, or log probabilities, which are as good, [n, classes].
        memory_budget: bytes that intermediate values may take.

    Returns:
        What turns logits into probabilities.

    Raises:
        ValueError: classes that are not the columns' numbers, values that are not finite, no point
            that the logits classify wrongly (T = 0 would be best), logits that are no better than
            chance (T would be infinite), or a budget below 1.

    Source:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, ICML 2017, arXiv 1706.04599.

    Example:
        >>> import torch
        >>> fitted = fit_temperature([0, 0, 0, 1], [[2.0, 0.0]] * 4)
        >>> fitted.transform(torch.tensor([[2.0, 0.0]]))  # three in four are right
        tensor([[0.7500, 0.2500]])
    """
    z = checked_scores(logits, "logits")
    held_out = _HeldOut(
        logits=z, labels=checked_labels(y, z, "logits"), memory_budget=memory_budget
    )
    wrong, margin, square = held_out.mean(_summary)
    if float(wrong) == 0:
        raise ValueError(
            f"logits: expected some of the {len(z)} held-out points to be classified wrongly, got "
            "none, so that no temperature is low enough; hold out more points."
        )
    if float(margin) <= 0:
        raise ValueError(
            "logits: expected larger ones for the true classes than for others on average, got "
            f"{float(margin):.3g} against 0: no temperature is high enough; check that "
            "the columns are in the classes' order."
        )
    unit = square.sqrt()

    def derivatives(inverse: Float64[Tensor, " 1"]) -> Derivatives:
        loss, slope, curvature = held_out.mean(_terms(inverse, unit))
        return float(loss), slope[None], curvature[None, None]

    return TemperatureScaling(
        temperature=float(unit / newton_minimum(derivatives, torch.zeros_like(unit)[None]))
    )


@dataclass(frozen=True, kw_only=True)
class _HeldOut:
    """Held-out points, of which some are looked at at a time."""

    logits: Float[Tensor, "n classes"]
    labels: Tensor
    memory_budget: int

    def mean(self, terms: Callable[[Tensor, Tensor], Tensor]) -> Float64[Tensor, " k"]:
        """Return the mean over the points of `terms`, [points, k].

        They are functions of logits, whose mean over the classes is 0, and of the true class's.
        """
        n, n_classes = self.logits.shape
        parts = row_chunks(
            self.logits, self.labels, numbers_per_row=_HELD * n_classes,
            memory_budget=self.memory_budget,
        )  # fmt: skip
        sums = []
        for logits, labels in parts:
            z = logits.double()
            z = z - z.mean(1, keepdim=True)
            sums.append(terms(z, z.gather(1, labels[:, None]).squeeze(1)).sum(0))
        return torch.stack(sums).sum(0) / n


def _summary(z: Tensor, at_label: Tensor) -> Tensor:
    # whether each point is classified wrongly, its true class's logit, its mean square
    return torch.stack([(at_label < z.amax(1)).double(), at_label, z.square().mean(1)], dim=1)


def _terms(inverse: Tensor, unit: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    # loss of each point, its slope and its curvature in inverse, which is unit/T
    def at(z: Tensor, at_label: Tensor) -> Tensor:
        z, at_label = z / unit, at_label / unit
        p = (inverse * z).softmax(1)
        expected = (p * z).sum(1)
        spread = (p * (z - expected[:, None]).square()).sum(1)
        loss = (inverse * z).logsumexp(1) - inverse * at_label
        return torch.stack([loss, expected - at_label, spread], dim=1)

    return at
