"""Could these be samples of that Gaussian? A likelihood-ratio test with simulated thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator

DIRECTIONS = 12  # principal directions of the reference that the test looks at, at most
SIMULATIONS = 4000  # of the test's statistic under the null hypothesis
_AT_ONCE = 2**22  # numbers of a simulation's block


@dataclass(frozen=True, kw_only=True)
class GaussianTest:
    """What the test found.

    Attributes:
        n_directions: principal directions that it looked at.
        p_value: probability that samples of the reference are at least as unlike it.
        p_mean: the same for the members' mean alone.
        p_covariance: the same for the members' covariance alone.
    """

    n_directions: int
    p_value: float
    p_mean: float
    p_covariance: float


def gaussian_test(
    members: Float[Tensor, "m n"], mean: Float[Tensor, " n"], covariance: Float[Tensor, "n n"]
) -> GaussianTest:
    """Test whether the members are independent samples of N(mean, covariance).

    The members are whitened along the covariance's r principal directions, at most a third of their
    number. For samples the distribution of the likelihood ratio against any other Gaussian then
    depends on m and r alone, and is simulated (Anderson, 2003, chapter 10).

    Args:
        members: values.
        mean: the Gaussian's.
        covariance: the Gaussian's.

    Returns:
        p-values; false alarms at a level come at that rate.
    """
    m = members.shape[0]
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    sizeable = int((eigenvalues > 1e-8 * eigenvalues[-1]).sum())
    r = max(1, min(DIRECTIONS, m // 3, sizeable))
    white = (members - mean) @ vectors[:, -r:] / eigenvalues[-r:].sqrt()
    found = _statistics(white.unsqueeze(0))[0]
    null = _null(m, r)
    return GaussianTest(
        n_directions=r,
        p_value=_p_value(null.sum(1), found.sum()),
        p_mean=_p_value(null[:, 0], found[0]),
        p_covariance=_p_value(null[:, 1], found[1]),
    )


def _p_value(null: Float[Tensor, " s"], found: Float[Tensor, ""]) -> float:
    return (1 + int((null >= found).sum())) / (1 + len(null))


@cache
def _null(m: int, r: int) -> Float[Tensor, "s 2"]:
    """Return draws of both statistics for samples of the reference, whatever it is."""
    generator = seeded_generator(0, m, r)
    size = max(1, _AT_ONCE // (m * r))
    parts = []
    for first in range(0, SIMULATIONS, size):
        count = min(size, SIMULATIONS - first)
        draws = torch.randn(count, m, r, generator=generator, dtype=torch.float64)
        parts.append(_statistics(draws))
    return torch.cat(parts)


def _statistics(white: Float[Tensor, "s m r"]) -> Float[Tensor, "s 2"]:
    """Return m·‖z̄‖² and m·(tr S − log det S − r): the likelihood ratio's two parts."""
    m, r = white.shape[1:]
    mean = white.mean(1)
    centred = white - mean.unsqueeze(1)
    covariance = centred.mT @ centred / m
    volume = torch.linalg.slogdet(covariance).logabsdet
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)
    return torch.stack((m * mean.square().sum(1), m * (trace - volume - r)), dim=1)
