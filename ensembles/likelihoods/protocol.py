"""What a likelihood is: the loss that members minimise, and what their outputs say about y."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ensembles.losses import Loss


@runtime_checkable
class RegressionLikelihood(Protocol):
    """How targets [n, k] scatter about a member's outputs; a frozen dataclass."""

    @property
    def name(self) -> str:
        """The likelihood's name in files and results."""
        ...

    def n_network_outputs(self, n_targets: int) -> int:
        """Return how many outputs the network must have for k targets."""
        ...

    def loss(self, noise_std: Tensor) -> Loss:
        """Return the loss of one datum, given σ [k] in the network's units of y."""
        ...

    def function(self, values: Tensor) -> Tensor:
        """Return the mean of y [..., n, k] that members' outputs [..., n, o] say."""
        ...

    def noise_variance(self, values: Tensor, noise_std: Tensor) -> Tensor:
        """Return the variance of y about it, averaged over members: [n, k], or [k] if constant."""
        ...


@runtime_checkable
class ClassLikelihood(Protocol):
    """How classes depend on a member's outputs [n, c]; a frozen dataclass."""

    @property
    def name(self) -> str:
        """The likelihood's name in files and results."""
        ...

    def targets(self, one_hot: Tensor) -> Tensor:
        """Return what members are trained on, [n, c], given classes as columns of 0 and 1."""
        ...

    def loss(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        *,
        seed: int,
        row_weight: Tensor | None,
    ) -> Loss:
        """Return the loss of one datum; a noise that it needs is estimated from the data."""
        ...
