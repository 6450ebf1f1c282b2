"""What every method predicts here: a mixture at each flight, of Gaussians or of Student's t."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.flight_delays.laws import GAUSSIAN, Law

CHUNK = 2**22  # components² times flights at a time
HALVINGS = 45  # of the bracket of a quantile


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Equally weighted components m_k + σ_k·Z; their joint shape is kept, beyond its moments.

    Attributes:
        means: of the components, in minutes, float64.
        stds: of the components, above 0.
        law: of Z, whose variance is 1.
        epistemic: variance of the function, where it is known apart from the components.
    """

    means: Float[Tensor, "k n"]
    stds: Float[Tensor, "k n"]
    law: Law = GAUSSIAN
    epistemic: Float[Tensor, " n"] | None = None

    @property
    def mean(self) -> Float[Tensor, " n"]:
        """The mixture's mean."""
        return self.means.mean(0)

    @property
    def epistemic_variance(self) -> Float[Tensor, " n"]:
        """Variance of the function: of the components' means, unbiased, if not known; 0 of one."""
        if self.epistemic is not None:
            return self.epistemic
        if len(self.means) == 1:
            return torch.zeros_like(self.means[0])
        return self.means.var(0)

    @property
    def variance(self) -> Float[Tensor, " n"]:
        """The mixture's variance."""
        return self.means.var(0, correction=0) + self.stds.square().mean(0)

    def to(self, device: str) -> Mixture:
        """Return the mixture on a device."""
        known = self.epistemic
        return dataclasses.replace(
            self,
            means=self.means.to(device),
            stds=self.stds.to(device),
            epistemic=None if known is None else known.to(device),
        )

    def in_units(self, mean: float, scale: float) -> Mixture:
        """Return the mixture of standardised targets in units in which they have other moments."""
        known = self.epistemic
        return dataclasses.replace(
            self,
            means=self.means * scale + mean,
            stds=self.stds * scale,
            epistemic=None if known is None else known * scale**2,
        )

    def nll(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the negative log density of each outcome, in nats."""
        each = self.law.log_density((y - self.means) / self.stds) - self.stds.log()
        return math.log(len(each)) - each.logsumexp(0)

    def crps(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the continuous ranked probability score of each outcome, in minutes.

        mean_k E|X_k − y| − ½ mean_kl E|X_k − X_l'|.
        """
        found = []
        for part in torch.arange(len(y)).split(max(1, CHUNK // len(self.means) ** 2)):
            means, stds = self.means[:, part], self.stds[:, part]
            to_y = self.law.distance(y[part] - means, stds).mean(0)
            found.append(to_y - self.law.spread(means, stds) / 2)
        return torch.cat(found)

    def pit(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the probability of less than each outcome."""
        return self.law.below((y - self.means) / self.stds).mean(0)

    def quantile(self, level: float) -> Float[Tensor, " n"]:
        """Return the mixture's quantile at each flight, by halving a bracket."""
        ends = self.means + self.law.quantile(level) * self.stds
        low, high = ends.amin(0), ends.amax(0)  # the components' quantiles enclose it
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.pit(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2
