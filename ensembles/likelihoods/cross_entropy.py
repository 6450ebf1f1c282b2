"""Classes by the softmax of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ensembles.losses import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class Categorical:
    """P(c) ∝ exp f̃_c(x); build it with `cross_entropy()`."""

    name: ClassVar[str] = "cross_entropy"

    def targets(self, one_hot: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """Return the classes as they are."""
        return one_hot

    def loss(
        self,
        network: nn.Module,  # noqa: ARG002
        inputs: Tensor,  # noqa: ARG002
        targets: Tensor,  # noqa: ARG002
        *,
        seed: int,  # noqa: ARG002
        row_weight: Tensor | None,  # noqa: ARG002
    ) -> CrossEntropy:
        """Return the cross-entropy."""
        return CrossEntropy()


def cross_entropy() -> Categorical:
    """Return the likelihood of classes P(c | x) ∝ exp f̃_c(x), the default.

    Members minimise the cross-entropy with the regulariser r/(2N) of their method. Targets are not
    perturbed, so members are no exact posterior samples: sample-then-optimise is exact for Gaussian
    noise alone.

    Returns:
        The likelihood, for `EnsembleClassifier(likelihood=...)`.

    Example:
        >>> cross_entropy().name
        'cross_entropy'
    """
    return Categorical()
