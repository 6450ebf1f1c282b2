"""One temperature for the logits of all classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.calibration.class_inputs import checked_labels, checked_scores
from bayesnn.calibration.newton import Derivatives, newton_minimum

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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


def fit_temperature(y: ArrayLike | Tensor, logits: ArrayLike | Tensor) -> TemperatureScaling:
    """Learn from held-out points how sure of themselves logits may be.

    T minimises −Σ_i log softmax(z_i/T)[y_i], which is convex in 1/T, by Newton's method in float64
    until 1/T is known to nearly all digits. It never changes which class is the likeliest. Classes
    that no held-out point belongs to do no harm: the one parameter is everybody's.

    Args:
        y: classes of held-out points that the network has not seen, from 0, [n].
        logits: z, the network's for them, or log probabilities, which are as good, [n, classes].

    Returns:
        What turns logits into probabilities.

    Raises:
        ValueError: classes that are not the columns' numbers, values that are not finite, no point
            that the logits classify wrongly (T = 0 would be best), or logits that are no better
            than chance (T would be infinite).

    Source:
        C. Guo, G. Pleiss, Y. Sun, K. Weinberger, ICML 2017, arXiv 1706.04599.

    Example:
        >>> import torch
        >>> fitted = fit_temperature([0, 0, 0, 1], [[2.0, 0.0]] * 4)
        >>> fitted.transform(torch.tensor([[2.0, 0.0]]))  # three in four are right
        tensor([[0.7500, 0.2500]])
    """
    z = checked_scores(logits, "logits")
    labels = checked_labels(y, z, "logits")
    z = z.double() - z.double().mean(1, keepdim=True)
    at_label = z.gather(1, labels[:, None]).squeeze(1)
    if bool((at_label == z.amax(1)).all()):
        raise ValueError(
            f"logits: expected some of the {len(z)} held-out points to be classified wrongly, got "
            "none, so that no temperature is low enough; hold out more points."
        )
    if float(at_label.mean()) <= 0:
        raise ValueError(
            "logits: expected larger ones for the true classes than for others on average, got "
            f"{float(at_label.mean()):.3g} against 0: no temperature is high enough; check that "
            "the columns are in the classes' order."
        )
    unit = z.square().mean().sqrt()
    inverse = newton_minimum(_derivatives(z / unit, at_label / unit), z.new_zeros(1))
    return TemperatureScaling(temperature=float(unit / inverse))


def _derivatives(z: Tensor, at_label: Tensor) -> Callable[[Tensor], Derivatives]:
    def at(inverse: Tensor) -> Derivatives:
        log_p = (inverse * z).log_softmax(-1)
        expected = (log_p.exp() * z).sum(1)
        spread = (log_p.exp() * (z - expected[:, None]).square()).sum(1)
        loss = (inverse * z).logsumexp(1) - inverse * at_label
        return float(loss.mean()), (expected - at_label).mean()[None], spread.mean()[None, None]

    return at
