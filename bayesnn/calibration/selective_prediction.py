"""Selective prediction: what is lost where the least certain points are left to somebody else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverageCurve:
    """Mean loss of the points that are answered, the most certain first.

    Attributes:
        coverage: share of the points that are answered: 1/n, 2/n, …, 1.
        risk: their mean loss.
    """

    coverage: Float[Tensor, " n"]
    risk: Float[Tensor, " n"]


def risk_coverage_curve(
    losses: ArrayLike | Tensor, uncertainty: ArrayLike | Tensor
) -> RiskCoverageCurve:
    """Return the mean loss of the k most certain points, for k from 1 to n.

    Points of equal uncertainty are answered in random order; the curve is the expected one, so that
    the order in which points are given does not matter.

    Args:
        losses: of each point, such as 1 where a classifier is wrong and 0 where it is right, or a
            squared error, [n].
        uncertainty: of each point, [n]; such as entropy, or 1 − confidence.

    Returns:
        The curve.

    Raises:
        ValueError: shapes that differ, or values that are not finite.

    Source:
        El-Yaniv and Wiener, JMLR 11, 2010; Geifman and El-Yaniv, NeurIPS 2017, arXiv 1705.08500.

    Example:
        >>> risk_coverage_curve([0.0, 1.0], [0.1, 0.9]).risk.tolist()
        [0.0, 0.5]
    """
    lost, doubt = _checked(losses, "losses", uncertainty)
    # float64 on the CPU: sums of a fixed order, whatever the device
    ordered = doubt.cpu().sort()
    _, level, ties = torch.unique_consecutive(
        ordered.values, return_inverse=True, return_counts=True
    )
    expected = level.bincount(lost.cpu().double()[ordered.indices]) / ties
    answered = torch.arange(1, len(lost) + 1, dtype=torch.float64)
    risk = expected.repeat_interleave(ties).cumsum(0) / answered
    return RiskCoverageCurve(coverage=(answered / len(lost)).to(lost), risk=risk.to(lost))


def aurc(losses: ArrayLike | Tensor, uncertainty: ArrayLike | Tensor) -> Tensor:
    """Area under the risk–coverage curve: the mean of its n risks; lower is better.

    It falls with the losses themselves and with how well the uncertainty ranks them; for the latter
    alone see `excess_aurc`. An uncertainty that knows nothing gives the mean loss.

    Args:
        losses: of each point, [n].
        uncertainty: of each point, [n].

    Returns:
        The area, a tensor without dimensions, in units of the losses.

    Raises:
        ValueError: shapes that differ, or values that are not finite.

    Source:
        Geifman, Uziel, El-Yaniv, ICLR 2019, arXiv 1805.08206.

    Example:
        >>> float(aurc([0.0, 1.0], [0.1, 0.9]))
        0.25
    """
    return risk_coverage_curve(losses, uncertainty).risk.mean()


def excess_aurc(losses: ArrayLike | Tensor, uncertainty: ArrayLike | Tensor) -> Tensor:
    """Area under the risk–coverage curve above that of the best order: 0 where losses are ranked.

    The best order answers the smallest losses first; its area is computed from the same losses, not
    approximated.

    Args:
        losses: of each point, [n].
        uncertainty: of each point, [n].

    Returns:
        The excess, at least 0, a tensor without dimensions, in units of the losses.

    Raises:
        ValueError: shapes that differ, or values that are not finite.

    Source:
        Geifman, Uziel, El-Yaniv, ICLR 2019, arXiv 1805.08206.

    Example:
        >>> float(excess_aurc([0.0, 1.0], [0.9, 0.1]))
        0.5
    """
    return (aurc(losses, uncertainty) - aurc(losses, losses)).clamp(min=0)


def accuracy_at_coverage(
    correct: ArrayLike | Tensor, uncertainty: ArrayLike | Tensor, coverage: float
) -> Tensor:
    """Share of right answers among the most certain points, ⌈coverage · n⌉ of them.

    Of points as uncertain as the last one answered, the expected share is taken.

    Args:
        correct: whether each point was answered right, [n]; values in [0, 1].
        uncertainty: of each point, [n].
        coverage: share of the points that are answered, in (0, 1].

    Returns:
        The accuracy in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, or shares outside of their
            range.

    Example:
        >>> float(accuracy_at_coverage([True, False], [0.1, 0.9], 0.5))
        1.0
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage: expected a share in (0, 1], got {coverage!r}.")
    right, doubt = _checked(correct, "correct", uncertainty)
    if not bool(((right >= 0) & (right <= 1)).all()):
        raise ValueError("correct: expected truth values, or shares in [0, 1].")
    n_answered = math.ceil(coverage * len(right) - 1e-9)
    return risk_coverage_curve(right, doubt).risk[n_answered - 1]


def _checked(
    values: ArrayLike | Tensor, name: str, uncertainty: ArrayLike | Tensor
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    first = as_finite_tensor(values, name, ndim=(1,))
    doubt = as_finite_tensor(uncertainty, "uncertainty", ndim=(1,))
    if len(doubt) != len(first):
        raise ValueError(
            f"uncertainty: expected {len(first)} values, one a point of {name}, got {len(doubt)}."
        )
    return first, doubt
