"""The densities by which a predictive distribution may be scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import StudentT

from bayesnn import Predictive

TAILS = 5.0

LogDensity: TypeAlias = Callable[[Predictive, Float[Tensor, " n"]], Float[Tensor, " n"] | None]
"""Log density of each target; None where the prediction does not have it."""


def by_moments(post: Predictive, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return log densities of a Gaussian, or of a Student-t where moments are members'."""
    return post.log_prob(y)


def by_mixture(post: Predictive, y: Float[Tensor, " n"]) -> Float[Tensor, " n"] | None:
    """Return log (1/M) Σ_m N(y; f_m, noise), as MC dropout and deep ensembles are scored.

    None where no members were kept.
    """
    if post.members is None:
        return None
    noise = post.noise_variance
    each = -0.5 * ((y - post.members).square() / noise + (2 * math.pi * noise).log())
    return torch.logsumexp(each, dim=0) - math.log(len(post.members))


def by_heavy_tails(post: Predictive, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return log densities of Student's t with 5 degrees of freedom and the moments' variance."""
    scale = (post.variance * ((TAILS - 2) / TAILS)).sqrt()
    found: Tensor = StudentT(TAILS, post.mean, scale, validate_args=False).log_prob(y)
    return found


DENSITIES: Mapping[str, LogDensity] = {
    "moments": by_moments,
    "heavy tails": by_heavy_tails,
    "mixture": by_mixture,
}
