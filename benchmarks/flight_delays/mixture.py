"""What every method predicts here: a mixture of Gaussians at each flight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration import pit_gaussian_mixture
from bayesnn.calibration.gaussian_scores import expected_distance

CHUNK = 2**22  # components² times flights at a time
HALVINGS = 50  # of the bracket of a quantile


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Equally weighted Gaussians; delays are heavy tailed, so their joint shape is kept.

    Attributes:
        means: of the components, in minutes, float64.
        stds: of the components, above 0.
        epistemic: variance of the function, where it is known apart from the components.
    """

    means: Float[Tensor, "k n"]
    stds: Float[Tensor, "k n"]
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

    def in_units(self, mean: float, scale: float) -> Mixture:
        """Return the mixture of standardised targets in units in which they have other moments."""
        known = self.epistemic
        return Mixture(
            means=self.means * scale + mean,
            stds=self.stds * scale,
            epistemic=None if known is None else known * scale**2,
        )

    def nll(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the negative log density of each outcome, in nats."""
        z = (y - self.means) / self.stds
        each = -0.5 * z.square() - self.stds.log() - 0.5 * math.log(2 * math.pi)
        return math.log(len(each)) - each.logsumexp(0)

    def crps(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the continuous ranked probability score of each outcome, in minutes.

        mean_k A(y − m_k, σ_k) − ½ mean_kl A(m_k − m_l, √(σ_k² + σ_l²)), A(m, σ) the mean of |X| of
        a Gaussian (Grimit et al., 2006).
        """
        found = []
        for part in torch.arange(len(y)).split(max(1, CHUNK // len(self.means) ** 2)):
            means, stds = self.means[:, part], self.stds[:, part]
            to_y = expected_distance(y[part] - means, stds).mean(0)
            width = (stds.square()[:, None] + stds.square()[None]).sqrt()
            apart = expected_distance(means[:, None] - means[None], width).mean((0, 1))
            found.append(to_y - apart / 2)
        return torch.cat(found)

    def pit(self, y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the probability of less than each outcome."""
        return pit_gaussian_mixture(y, self.means, self.stds)

    def quantile(self, level: float) -> Float[Tensor, " n"]:
        """Return the mixture's quantile at each flight, by halving a bracket."""
        ends = self.means + math.sqrt(2) * torch.erfinv(torch.tensor(2 * level - 1)) * self.stds
        low, high = ends.amin(0), ends.amax(0)  # the components' quantiles enclose it
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self.pit(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2
