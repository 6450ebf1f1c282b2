"""What functions of classes ask of their inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def whole_numbers(value: ArrayLike | Tensor, name: str) -> Int[Tensor, " n"]:
    """Return a vector of whole numbers of at least 0.

    Raises:
        ValueError: another number of dimensions, or other values.

    Example:
        >>> whole_numbers([0.0, 2.0], "y")
        tensor([0, 2])
    """
    numbers = as_finite_tensor(value, name, ndim=(1,), dtype=torch.float64)
    if bool((numbers != numbers.round()).any()) or bool((numbers < 0).any()):
        raise ValueError(
            f"{name}: expected whole numbers from 0, got values between {float(numbers.min()):g} "
            f"and {float(numbers.max()):g}; encode labels as 0, 1, … first."
        )
    return numbers.long()


def checked_labels(
    y: ArrayLike | Tensor, columns: Float[Tensor, "n classes"], name: str
) -> Int[Tensor, " n"]:
    """Return the classes of the rows of `columns`, on its device.

    Args:
        y: numbers of columns.
        columns: one row a point and one column a class.
        name: what the user calls `columns`.

    Returns:
        The classes.

    Raises:
        ValueError: other than whole numbers of columns, one a row.

    Example:
        >>> checked_labels([1, 0], torch.zeros(2, 3), "logits")
        tensor([1, 0])
    """
    labels = whole_numbers(y, "y")
    if len(labels) != len(columns):
        raise ValueError(
            f"y: expected {len(columns)} classes, one a row of {name}, got {len(labels)}."
        )
    if int(labels.max()) >= columns.shape[1]:
        raise ValueError(
            f"y: expected classes from 0 to {columns.shape[1] - 1}, the columns of {name}, got "
            f"{int(labels.max())}."
        )
    return labels.to(columns.device)


def checked_scores(scores: ArrayLike | Tensor, name: str) -> Float[Tensor, "n classes"]:
    """Return one column of scores for each of at least two classes.

    Raises:
        ValueError: another shape, or values that are not finite.

    Example:
        >>> checked_scores([[0, 1]], "logits")
        tensor([[0., 1.]])
    """
    values = as_finite_tensor(scores, name, ndim=(2,))
    if values.shape[1] < 2:
        raise ValueError(f"{name}: expected a column for each of at least 2 classes, got 1.")
    return values


def checked_probabilities(probabilities: ArrayLike | Tensor) -> Float[Tensor, "n classes"]:
    """Return probabilities of classes, whose rows sum to 1.

    Raises:
        ValueError: another shape, values that are not finite or below 0, or other sums.

    Example:
        >>> checked_probabilities(torch.tensor([[0.5, 0.5]]))
        tensor([[0.5000, 0.5000]])
    """
    p = checked_scores(probabilities, "probabilities")
    sums = p.sum(1, dtype=torch.float64)
    worst = float(sums[(sums - 1).abs().argmax()])
    if bool((p < 0).any()) or abs(worst - 1) > 1e-3:
        raise ValueError(
            "probabilities: expected values of at least 0 in rows that sum to 1, got a smallest "
            f"one of {float(p.min()):.3g} and a sum of {worst:.4g}; logits need a softmax first."
        )
    return p
