"""Gaussian noise whose size depends on x: two outputs for every target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_positive
from ensembles.losses import GaussianError


@dataclass(frozen=True, kw_only=True)
class Heteroscedastic:
    """y = f̃(x) + σ(x)·ε, with σ(x) an output of the network; build it with `heteroscedastic()`.

    Attributes:
        scale: how much the log variance changes with its output, where that is small.
        bound: the log variance stays within this much of the one about which it varies.
        beta: power of the variance by which gradients are weighted in training.
    """

    name: ClassVar[str] = "heteroscedastic"
    scale: float = 0.5
    bound: float = 6.0
    beta: float = 0.5

    def n_network_outputs(self, n_targets: int) -> int:
        """Return 2k: means, then log variances."""
        return 2 * n_targets

    def loss(self, noise_std: Float[Tensor, " k"]) -> GaussianError:
        """Return the Gaussian negative log likelihood, its variances about σ²."""
        return GaussianError(
            noise_std=noise_std, scale=self.scale, bound=self.bound, beta=self.beta
        )

    def function(self, values: Float[Tensor, "*m n o"]) -> Float[Tensor, "*m n k"]:
        """Return the first half of the outputs."""
        return values[..., : values.shape[-1] // 2]

    def noise_variance(
        self, values: Float[Tensor, "m n o"], noise_std: Float[Tensor, " k"]
    ) -> Float[Tensor, "n k"]:
        """Return the mean over members of their variances."""
        return self.loss(noise_std).log_variance(values).exp().mean(0)


def heteroscedastic(
    *, scale: float = 0.5, bound: float = 6.0, beta: float = 0.5
) -> Heteroscedastic:
    """Return the likelihood y ~ N(f̃(x), σ²(x)), for noise that depends on x.

    The network has two outputs for each target, all means m first, then all a with

        log σ²(x) = log σ̂² + B·tanh(s·a(x)/B),

    with σ̂ the estimator's `noise_std`, given or estimated as if the noise were the same everywhere.
    Far from the data a returns to its prior, so σ(x) to about σ̂. Members minimise the Gaussian's
    negative log likelihood with the regulariser r/(2N). Their mixture of Gaussians is summarised by
    its first two moments: the epistemic variance is that of the means, the noise variance the mean
    of σ²(x). Targets are not perturbed, and sample-then-optimise is not exact here. (Nix and
    Weigend, 1994; Lakshminarayanan et al., 2017, arXiv 1612.01474.)

    Where the noise hardly depends on x, or rows are few, `gaussian()` does better: members then
    take residuals that they have fitted for small noise. β helps, and does not mend that
    (benchmarks/heteroscedastic_defaults.py). Compare both on held-out rows.

    Args:
        scale: s: a prior standard deviation of a of 2 is one of log σ² of about 2s.
        bound: B: σ² stays between exp(±B) times σ̂².
        beta: β, at least 0: the gradient of each datum's loss is multiplied by (σ²(x)/σ̂²)^β, so
            that members do not leave data unfitted that they have taken for noise; 0 for none
            (Seitzer et al., 2022, arXiv 2203.09168).

    Returns:
        The likelihood, for `EnsembleRegressor(likelihood=...)`.

    Raises:
        ValueError: a number that is not positive, or a negative β.

    Example:
        >>> heteroscedastic().n_network_outputs(3)
        6
    """
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta: expected a finite number of at least 0, got {beta!r}.")
    return Heteroscedastic(
        scale=check_positive(scale, "scale"),
        bound=check_positive(bound, "bound"),
        beta=float(beta),
    )
