"""From members' values to the predictive distribution over classes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from bayesnn.class_probabilities import ClassProbabilities
from ensembles.rows import Rows


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
    probabilities, noise, epistemic = Rows(), Rows(), Rows()
    kept: list[Tensor] = []
    n_members = 1
    for values in chunks:
        part = ClassProbabilities.from_members(
            (values / temperature).softmax(-1), keep_members=keep_members, classes=classes
        )
        n_members = part.n_members
        probabilities.add(part.probabilities)
        noise.add(part.noise_entropy)
        if n_members > 1:
            epistemic.add(part.epistemic_entropy)
        if part.members is not None:
            kept.append(part.members)
    return ClassProbabilities(
        probabilities=probabilities.joined(),
        noise_entropy=noise.joined(),
        epistemic_entropy=epistemic.joined() if n_members > 1 else None,
        n_members=n_members,
        members=torch.cat(kept, dim=1) if kept else None,
        classes=classes,
    )
