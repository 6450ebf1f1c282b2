"""Laws of mean 0 and variance 1: what noise is like, its size apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from scipy.special import ndtri, stdtrit
from torch import Tensor

from bayesnn.calibration.gaussian_scores import expected_distance

NODES = 161  # of the quadrature, from its middle outwards like sinh
REACH = 1e3  # standard deviations up to which it goes


class Law(Protocol):
    """A symmetric law Z; X = m + σZ are the components of a mixture."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return the log density."""

    def below(self, z: Tensor) -> Tensor:
        """Return P(Z ≤ z)."""

    def quantile(self, level: float) -> float:
        """Return z with P(Z ≤ z) = level."""

    def distance(self, offset: Tensor, std: Tensor) -> Tensor:
        """Return E|m + σZ|."""

    def spread(self, means: Tensor, stds: Tensor) -> Tensor:
        """Return E|X − X'| [n] of two independent draws from mixtures of k components [k, n]."""


@dataclass(frozen=True)
class Gaussian:
    """The standard normal law."""

    def log_density(self, z: Tensor) -> Tensor:
        """Return −½z² − ½ log 2π."""
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def below(self, z: Tensor) -> Tensor:
        """Return Φ(z)."""
        return torch.special.ndtr(z)

    def quantile(self, level: float) -> float:
        """Return Φ⁻¹(level)."""
        return float(ndtri(level))

    def distance(self, offset: Tensor, std: Tensor) -> Tensor:
        """Return the mean of a folded normal law."""
        return expected_distance(offset, std)

    def spread(
        self, means: Float[Tensor, "k n"], stds: Float[Tensor, "k n"]
    ) -> Float[Tensor, " n"]:
        """Return mean_kl E|m_k − m_l + √(σ_k² + σ_l²)Z| (Grimit et al., 2006)."""
        width = (stds.square()[:, None] + stds.square()[None]).sqrt()
        return expected_distance(means[:, None] - means[None], width).mean((0, 1))


GAUSSIAN = Gaussian()


@dataclass(frozen=True)
class Student:
    """Student's t with whole degrees of freedom ν > 2, scaled by √((ν − 2)/ν) to variance 1."""

    degrees: int

    def log_density(self, z: Tensor) -> Tensor:
        """Return the log density."""
        nu = self.degrees
        at_0 = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log((nu - 2) * math.pi)
        return at_0 - 0.5 * (nu + 1) * torch.log1p(z.square() / (nu - 2))

    def below(self, z: Tensor) -> Tensor:
        """Return P(Z ≤ z), a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
        angle = (z / (self._scale * math.sqrt(self.degrees))).atan()
        sine, cosine2 = angle.sin(), angle.cos().square()
        odd = self.degrees % 2
        term = angle.cos() if odd else torch.ones_like(z)
        total = term.clone()
        for j in range(2 + odd, self.degrees - 1, 2):
            term = term * cosine2 * ((j - 1) / j)
            total += term
        both = (angle + sine * total) / math.pi * 2 if odd else sine * total
        return (1 + both) / 2

    def quantile(self, level: float) -> float:
        """Return z with P(Z ≤ z) = level."""
        return float(stdtrit(self.degrees, level)) * self._scale

    def distance(self, offset: Tensor, std: Tensor) -> Tensor:
        """Return σ(z(2F(z) − 1) + 2f(z)(ν − 2 + z²)/(ν − 1)) with z = m/σ."""
        nu, z = self.degrees, offset / std
        far = 2 * self.log_density(z).exp() * (nu - 2 + z.square()) / (nu - 1)
        return std * (z * (2 * self.below(z) - 1) + far)

    def spread(
        self, means: Float[Tensor, "k n"], stds: Float[Tensor, "k n"]
    ) -> Float[Tensor, " n"]:
        """Return 2∫F(1 − F)dx, F the mixture's: the trapezium rule in u, x = m̄ + σ_min sinh u."""
        middle, unit = means.mean(0), stds.amin(0)
        furthest = (means - middle).abs().amax(0) + REACH * stds.amax(0)
        step = torch.linspace(-1, 1, NODES, dtype=means.dtype, device=means.device)
        u = (furthest / unit).asinh() * step[:, None]
        below = torch.stack([
            self.below((middle + unit * row.sinh() - means) / stds).mean(0) for row in u
        ])
        return 2 * torch.trapezoid(below * (1 - below) * unit * u.cosh(), u, dim=0)

    @property
    def _scale(self) -> float:
        return math.sqrt((self.degrees - 2) / self.degrees)
