"""Gaussian noise of one size, given or estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ensembles.losses import SquaredError


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """y = f̃(x) + σ·ε, with σ the same at every x; build it with `gaussian()`."""

    name: ClassVar[str] = "gaussian"

    def n_network_outputs(self, n_targets: int) -> int:
        """Return k."""
        return n_targets

    def loss(self, noise_std: Float[Tensor, " k"]) -> SquaredError:
        """Return squares weighted by the outputs' σ."""
        return SquaredError(noise_std=noise_std)

    def function(self, values: Float[Tensor, "*m n k"]) -> Float[Tensor, "*m n k"]:
        """Return the outputs themselves."""
        return values

    def noise_variance(
        self,
        values: Float[Tensor, "m n k"],  # noqa: ARG002
        noise_std: Float[Tensor, " k"],
    ) -> Float[Tensor, " k"]:
        """Return σ²."""
        return noise_std**2


def gaussian() -> Gaussian:
    """Return the likelihood y ~ N(f̃(x), σ²) with σ the same at every x, the default.

    Members are then posterior samples where their method says so: sample-then-optimise is exact
    for this likelihood alone. σ is the estimator's `noise_std`, given or estimated.

    Returns:
        The likelihood, for `EnsembleRegressor(likelihood=...)`.

    Example:
        >>> gaussian().name
        'gaussian'
    """
    return Gaussian()
