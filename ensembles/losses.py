"""Losses of one datum: negative log likelihoods, up to constants and, for squares, a factor σ²."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Loss(Protocol):
    """What members minimise, summed over the data; a frozen dataclass.

    The regulariser beside it is pull/2 · ‖θ − c‖²_Λ.
    """

    @property
    def pull(self) -> float:
        """The factor of the regulariser: 1 for a negative log likelihood, σ̄² for squares."""
        ...

    def __call__(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each datum [..., n] for f̃ [..., n, k] and targets [..., n, t]."""
        ...


@dataclass(frozen=True, kw_only=True)
class SquaredError:
    """½ Σ_k (w_k (y_k − f̃_k))² with w = σ̄/σ_k and σ̄ the least σ: σ̄² times the Gaussian's.

    Attributes:
        noise_std: σ of each output.
    """

    noise_std: Float[Tensor, " k"]

    @property
    def pull(self) -> float:
        """σ̄²."""
        return float(self.noise_std.min()) ** 2

    @property
    def output_weight(self) -> Float[Tensor, " k"]:
        """The weights w."""
        return self.noise_std.min() / self.noise_std

    def __call__(
        self, values: Float[Tensor, "*m n k"], targets: Float[Tensor, "*m n k"]
    ) -> Float[Tensor, "*m n"]:
        """Return half the weighted squared residual of each datum."""
        residual = self.output_weight.to(values) * (targets - values)
        return 0.5 * (residual**2).sum(-1)
