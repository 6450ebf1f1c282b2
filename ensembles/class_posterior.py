"""From members' values to the predictive distribution over classes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from bayesnn.class_probabilities import ClassProbabilities


def class_posterior(
    chunks: Iterable[Float[Tensor, "m _ c"]],
    *,
    temperature: float,
    keep_members: bool,
    classes: ArrayLike,
) -> ClassProbabilities:
    """Return the mean over members of softmax(f̃/T) at all points.

    Args:
        chunks: members' values f̃, chunk after chunk of the points.
        temperature: T.
        keep_members: keep each member's probabilities too, members × n × classes numbers.
        classes: labels.

    Returns:
        The predictive distribution; of a chunk only what it sums up to is held.
    """
    parts = [
        ClassProbabilities.from_members(
            (values / temperature).softmax(-1), keep_members=keep_members, classes=classes
        )
        for values in chunks
    ]
    if len(parts) == 1:
        return parts[0]
    n_members = parts[0].n_members
    several = n_members > 1
    kept = [part.members for part in parts if part.members is not None]
    return ClassProbabilities(
        probabilities=torch.cat([part.probabilities for part in parts]),
        noise_entropy=torch.cat([part.noise_entropy for part in parts]),
        epistemic_entropy=torch.cat([p.epistemic_entropy for p in parts]) if several else None,
        n_members=n_members,
        members=torch.cat(kept, dim=1) if kept else None,
        classes=classes,
    )
