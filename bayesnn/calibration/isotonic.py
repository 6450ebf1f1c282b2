"""Probabilities as rising functions of scores: isotonic regression, of one class or of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float64
from scipy.optimize import isotonic_regression
from torch import Tensor

from bayesnn.calibration.class_inputs import checked_labels, checked_scores, whole_numbers
from bayesnn.calibration.piecewise_linear import interpolated
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True, eq=False)
class IsotonicMap:
    """A rising function of a score, linear between knots and constant beyond them.

    Attributes:
        knots: distinct scores of held-out points, rising.
        values: probabilities at the knots.
    """

    knots: Float64[Tensor, " k"]
    values: Float64[Tensor, " k"]

    def transform(self, scores: ArrayLike | Tensor) -> Tensor:
        """Return the probability of class 1 at each score.

        Args:
            scores: of any shape.

        Returns:
            Probabilities, like `scores`.

        Raises:
            ValueError: values that are not finite.
        """
        x = as_finite_tensor(scores, "scores", ndim=range(16))
        return interpolated(x, self.knots, self.values)


@dataclass(frozen=True, kw_only=True, eq=False)
class IsotonicClasses:
    """One rising function a class, each class against the rest, made to sum to 1.

    Attributes:
        maps: one a class, in the columns' order.
    """

    maps: tuple[IsotonicMap, ...]

    def transform(self, scores: ArrayLike | Tensor) -> Tensor:
        """Return the recalibrated probabilities of classes.

        Args:
            scores: one column a class, [n, classes].

        Returns:
            Probabilities, like `scores`; even ones where all classes were given 0.

        Raises:
            ValueError: another number of classes than at the fit, or values that are not finite.
        """
        values = checked_scores(scores, "scores")
        if values.shape[1] != len(self.maps):
            raise ValueError(
                f"scores: expected {len(self.maps)} columns as at the fit, got {values.shape[1]}."
            )
        columns = zip(self.maps, values.unbind(1), strict=True)
        p = torch.stack([one.transform(column) for one, column in columns], dim=1)
        total = p.sum(1, keepdim=True)
        return torch.where(total > 0, p / total, 1 / len(self.maps))


def fit_isotonic(y: ArrayLike | Tensor, scores: ArrayLike | Tensor) -> IsotonicMap:
    """Learn from held-out points the probability of class 1 as a rising function of a score.

    Of all rising functions f the one with the least Σ_i (y_i − f(s_i))², by pooling adjacent
    violators; points of equal score count together. Between the held-out scores it is linear. As
    flexible as it is, it wants some hundreds of points.

    Args:
        y: 1 or 0 for held-out points that no part of the score has seen, [n]; both at least once.
        scores: s, such as the probability or the logit of class 1, [n].

    Returns:
        What turns scores into probabilities.

    Raises:
        ValueError: shapes that differ, values that are not finite, or other than both of 0 and 1.

    Source:
        B. Zadrozny, C. Elkan, KDD 2002.

    Example:
        >>> fitted = fit_isotonic([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
        >>> fitted.transform(torch.tensor([0.0, 0.25, 0.35]))
        tensor([0.0000, 0.5000, 0.7500])
    """
    labels = whole_numbers(y, "y")
    values = as_finite_tensor(scores, "scores", ndim=(1,))
    if values.shape != labels.shape:
        raise ValueError(
            f"scores: expected {len(labels)} values, one a class of y, got {len(values)}."
        )
    if sorted(set(labels.tolist())) != [0, 1]:
        raise ValueError(
            "y: expected both of the classes 0 and 1, got "
            f"{str(sorted(set(labels.tolist()))[:10])[1:-1]}; hold out more points, or see "
            "fit_isotonic_classes."
        )
    return _pooled(labels.double(), values)


def fit_isotonic_classes(y: ArrayLike | Tensor, scores: ArrayLike | Tensor) -> IsotonicClasses:
    """Learn from held-out points a rising function of each class's score, one against the rest.

    Each column by `fit_isotonic`, for the class against all others; rows are then made to sum to 1.
    This can change which class is the likeliest.

    Args:
        y: classes of held-out points that no part of the scores has seen, from 0, [n]; each at
            least once.
        scores: one column a class, such as probabilities, [n, classes].

    Returns:
        What turns scores into probabilities.

    Raises:
        ValueError: classes that are not the columns' numbers, a class without points, or values
            that are not finite.

    Source:
        B. Zadrozny, C. Elkan, KDD 2002.

    Example:
        >>> fitted = fit_isotonic_classes([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> fitted.transform(torch.tensor([[0.75, 0.25]]))
        tensor([[0.5000, 0.5000]])
    """
    values = checked_scores(scores, "scores")
    labels = checked_labels(y, values, "scores")
    n_classes = values.shape[1]
    missing = sorted(set(range(n_classes)) - set(labels.tolist()))
    if missing:
        raise ValueError(
            f"y: expected held-out points of each of the {n_classes} classes, got none of "
            f"{str(missing[:10])[1:-1]}; hold out more, or fit a temperature."
        )
    columns = (_pooled((labels == k).double(), values[:, k]) for k in range(n_classes))
    return IsotonicClasses(maps=tuple(columns))


def _pooled(y: Tensor, scores: Tensor) -> IsotonicMap:
    knots, place, counts = torch.unique(
        scores.double().cpu(), return_inverse=True, return_counts=True
    )
    means = place.bincount(y.cpu()) / counts
    fitted = isotonic_regression(means.numpy(), weights=counts.double().numpy())
    return IsotonicMap(knots=knots, values=torch.from_numpy(fitted.x))
