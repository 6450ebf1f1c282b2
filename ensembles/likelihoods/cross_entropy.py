"""Classes by the softmax of the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from ensembles.losses import CrossEntropy
from ensembles.trainers.adam import Adam, adam

SMALL_DATA = 512


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


def class_trainer(n_points: int) -> Adam:
    """Return the first-order trainer of classes, where the user names none.

    Classes need fewer steps than regression, by cross-entropy and by regression on indicators;
    benchmarks/likelihood_defaults.py shows it on rows held out of training.

    Args:
        n_points: number of training rows.

    Returns:
        200 steps of 64 rows for up to 512 rows; for more, 20 epochs, 1,000 to 5,000 steps.
    """
    if n_points <= SMALL_DATA:
        return adam(steps=200, batch_size=64)
    batch_size = 128 if n_points < 20_000 else 1024
    return adam(steps=max(1000, min(20 * n_points // batch_size, 5000)), batch_size=batch_size)
