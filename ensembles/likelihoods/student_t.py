"""Noise with heavy tails whose size depends on x: Student's t, two outputs for every target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import check_positive
from ensembles.losses import StudentError


@dataclass(frozen=True, kw_only=True)
class StudentT:
    """y = f̃(x) + σ(x)·√((ν − 2)/ν)·t_ν, of variance σ²(x); build it with `student_t()`.

    Attributes:
        degrees_of_freedom: ν.
        scale: how much the log variance changes with its output, where that is small.
        bound: the log variance stays within this much of the one about which it varies.
        beta: power of the variance by which gradients are weighted in training.
    """

    name: ClassVar[str] = "student_t"
    degrees_of_freedom: float = 4.0
    scale: float = 0.5
    bound: float = 6.0
    beta: float = 0.5

    def n_network_outputs(self, n_targets: int) -> int:
        """Return 2k: means, then log variances."""
        return 2 * n_targets

    def loss(self, noise_std: Float[Tensor, " k"]) -> StudentError:
        """Return Student's negative log likelihood, its variances about σ²."""
        return StudentError(
            noise_std=noise_std, degrees_of_freedom=self.degrees_of_freedom, scale=self.scale,
            bound=self.bound, beta=self.beta,
        )  # fmt: skip

    def function(self, values: Float[Tensor, "*m n o"]) -> Float[Tensor, "*m n k"]:
        """Return the first half of the outputs."""
        return values[..., : values.shape[-1] // 2]

    def noise_variance(
        self, values: Float[Tensor, "m n o"], noise_std: Float[Tensor, " k"]
    ) -> Float[Tensor, "n k"]:
        """Return the mean over members of their variances."""
        return self.loss(noise_std).log_variance(values).exp().mean(0)


def student_t(
    *,
    degrees_of_freedom: float = 4.0,
    scale: float = 0.5,
    bound: float = 6.0,
    beta: float = 0.5,
) -> StudentT:
    """Return Student's t likelihood, for noise with heavy tails whose size depends on x.

    As with `heteroscedastic()` the network has two outputs for each target, all means m first, then
    all a, and the variance of y about m is

        log σ²(x) = log σ̂² + B·tanh(s·a(x)/B),

    with σ̂ the estimator's `noise_std`; but y − m is Student's t with ν degrees of freedom, scaled
    by σ(x)·√((ν − 2)/ν). A few far outliers then move the function, and raise σ(x) around them,
    much less than a Gaussian lets them. Members minimise the negative log likelihood with the
    regulariser r/(2N). Their mixture is summarised by its first two moments, as there: the noise
    variance is the mean of σ²(x), and intervals do not know of the tails. Targets are not
    perturbed, and sample-then-optimise is not exact here. (Lange, Little and Taylor, 1989.)

    Args:
        degrees_of_freedom: ν, above 2, so that the variance is finite; compare a few on held-out
            rows. Large ones are Gaussian noise.
        scale: s: a prior standard deviation of a of 2 is one of log σ² of about 2s.
        bound: B: σ² stays between exp(±B) times σ̂².
        beta: β, at least 0: the gradient of each datum's loss is multiplied by (σ²(x)/σ̂²)^β; 0 for
            none. See `heteroscedastic`.

    Returns:
        The likelihood, for `EnsembleRegressor(likelihood=...)`.

    Raises:
        ValueError: ν not above 2, another number that is not positive, or a negative β.

    Example:
        >>> student_t(degrees_of_freedom=5).n_network_outputs(3)
        6
    """
    if not 2 < degrees_of_freedom < math.inf:
        raise ValueError(
            "degrees_of_freedom: expected a finite number above 2, for a finite variance, got "
            f"{degrees_of_freedom!r}; for Gaussian noise use heteroscedastic()."
        )
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta: expected a finite number of at least 0, got {beta!r}.")
    return StudentT(
        degrees_of_freedom=float(degrees_of_freedom),
        scale=check_positive(scale, "scale"),
        bound=check_positive(bound, "bound"),
        beta=float(beta),
    )
