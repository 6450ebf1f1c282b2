"""How much an ensemble does not know: entropies of class probabilities, variance of values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, by_chunks
from bayesnn.calibration.class_inputs import checked_probabilities
from bayesnn.checks import as_finite_tensor
from bayesnn.class_probabilities import ClassProbabilities
from bayesnn.predictive import Predictive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_HELD = 8  # arrays of a chunk's size that the entropies take


def predictive_entropy(
    members: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Float[Tensor, " points"]:
    """Entropy of the members' mean probabilities at each point, in nats: all of the uncertainty.

    H[p̄] = −Σ_c p̄_c log p̄_c, from 0 to log(classes). It also counts what no more data would remove;
    `mutual_information` is the model's part.

    Args:
        members: class probabilities, [members, points, classes]; one member is allowed.
        memory_budget: bytes that intermediate values may take.

    Returns:
        Entropies, [points].

    Raises:
        ValueError: other shapes, or values that are no probabilities.

    Example:
        >>> import torch
        >>> predictive_entropy(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        tensor([0.6931])
    """
    values = as_finite_tensor(members, "members", ndim=(3,))
    return _entropy(lambda classes: classes.total_entropy, values, memory_budget)


def mutual_information(
    members: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Float[Tensor, " points"]:
    """Mutual information of class and member at each point, in nats: what the members dispute.

    H[p̄] − mean_m H[p_m] = mean_m KL(p_m ‖ p̄), taken as the latter, so that small disagreement is
    not lost in rounding; from 0, where all agree, to log(min(members, classes)).

    Args:
        members: class probabilities, [members, points, classes], of at least 2 members.
        memory_budget: bytes that intermediate values may take.

    Returns:
        Mutual informations, [points].

    Raises:
        ValueError: other shapes, values that are no probabilities, or a single member.

    Source:
        Houlsby, Huszár, Ghahramani, Lengyel, 2011, arXiv 1112.5745.

    Example:
        >>> import torch
        >>> mutual_information(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
        tensor([0.6931])
    """
    values = _several(as_finite_tensor(members, "members", ndim=(3,)))
    return _entropy(lambda classes: classes.epistemic_entropy, values, memory_budget)


def epistemic_variance(members: ArrayLike | Tensor) -> Float[Tensor, " *points"]:
    """Unbiased variance over the members of each value that they predict, in squared units.

    Σ_m (f_m − f̄)²/(M − 1). Of class probabilities it is one number a class, whose sum over the
    classes is a score of the point.

    Args:
        members: values of at least 2 members, [members, *points].

    Returns:
        Variances, [*points].

    Raises:
        ValueError: values that are not finite, or a single member.

    Example:
        >>> import torch
        >>> epistemic_variance(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
        tensor([2., 0.])
    """
    values = _several(as_finite_tensor(members, "members", ndim=range(1, 16)))
    return Predictive.from_members(values, 0.0).epistemic_variance


def _several(members: Tensor) -> Tensor:
    if len(members) < 2:
        raise ValueError(
            "members: expected at least 2, got 1; one member disagrees with none, so the "
            "uncertainty is unknown."
        )
    return members


def _entropy(
    of: Callable[[ClassProbabilities], Tensor],
    members: Float[Tensor, "m n classes"],
    memory_budget: int,
) -> Float[Tensor, " n"]:
    checked_probabilities(members.reshape(-1, members.shape[-1]))

    def entropy(some: Float[Tensor, "m classes part"]) -> Float[Tensor, " part"]:
        return of(ClassProbabilities.from_members(some.mT))

    held = _HELD * len(members) * members.shape[-1]
    return by_chunks(entropy, members.mT, numbers_per_point=held, memory_budget=memory_budget)
