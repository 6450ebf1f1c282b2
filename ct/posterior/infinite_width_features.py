"""Prior draws without a circulant embedding: random features of powers of the correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from scipy.optimize import nnls
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.inr.coordinates import pixel_coordinates
from ct.posterior.infinite_width_network import InfiniteNetwork

_SUMMED = (*range(1, 9), 10, 12, 16, 24, 32, 48, 64, 96, 128)
"""Powers whose frequencies are sums of that many rows of B."""
_NORMAL = (192, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Powers whose sums of so many rows are taken as normal."""
_ANGLES = 2000
_FEATURES = 2000


@dataclass(frozen=True, kw_only=True)
class PowerSeries:
    """κ̃(ρ) = Σ_k c_k ρ^k + c_∞ [ρ = 1] with c ≥ 0, for k ≥ 1: how dot-product kernels are made.

    Attributes:
        powers: k.
        weights: c_k.
        nugget: c_∞, all powers beyond the largest: it correlates with no other pixel.
        error: largest difference from κ̃ where ρ < 1.
    """

    powers: tuple[int, ...]
    weights: Float64[Tensor, " powers"]
    nugget: float
    error: float


def power_series(network: InfiniteNetwork) -> PowerSeries:
    """Return the series of (κ(ρ) − κ(0))/(κ(1) − κ(0)), fitted by non-negative least squares.

    Example:
        >>> series = power_series(InfiniteNetwork(depth=0))  # a linear model: κ is linear in ρ
        >>> round(float(series.weights[0]), 6), series.error < 1e-6
        (1.0, True)
    """
    angle = torch.linspace(0, math.pi, _ANGLES + 1, dtype=torch.float64)[1:]
    values = (network.covariance(angle) - network.constant) / (network.variance - network.constant)
    powers = _SUMMED + _NORMAL
    columns = torch.stack([angle.cos() ** k for k in powers], dim=1)
    weights = torch.from_numpy(nnls(columns.numpy(), values.numpy(), maxiter=10_000)[0])
    total = float(weights.sum())
    weights /= max(total, 1.0)
    return PowerSeries(
        powers=powers,
        weights=weights,
        nugget=max(1.0 - total, 0.0),
        error=float((columns @ weights - values).abs().max()),
    )


@dataclass(frozen=True, kw_only=True)
class FeatureDraws:
    """Images of the prior as sums of waves, whose covariance over all draws is the prior's.

    Each draw takes waves of its own: with probability c_k the frequency ±b₁ ± … ± b_k, the rows of
    B chosen at random, since the mean of cos(·Δ) over such frequencies is ρ(Δ)^k; amplitudes are
    normal. First and second moments are those of the series; the fourth exceeds a Gaussian's by a
    share of the order of 1/2000, the number of waves.

    Source:
        P. Kar, H. Karnick, Random feature maps for dot product kernels, AISTATS 2012; A. Rahimi,
        B. Recht, Random features for large-scale kernel machines, 2007.

    Attributes:
        series: κ̃ as powers of ρ.
        frequencies: B, in radians per half the image's longer side; None for infinitely many.
        frequency_std: Ω₀, of infinitely many.
        shape: rows and columns of the image.
        like: a tensor of the device and dtype of the images.
    """

    series: PowerSeries
    frequencies: Float64[Tensor, "n 2"] | None
    frequency_std: float
    shape: tuple[int, int]
    like: Tensor

    def draw(self, seed: int, places: range) -> Float[Tensor, "places rows columns"]:
        """Return images, one a place of the random stream."""
        return torch.stack([self._one(seeded_generator(seed, place)) for place in places])

    def _one(self, generator: torch.Generator) -> Float[Tensor, "rows columns"]:
        waves = self._waves(generator)
        size = math.sqrt(float(self.series.weights.sum()) / len(waves))
        normal = torch.randn(len(waves), 2, dtype=torch.float64, generator=generator)
        amplitude = size * torch.view_as_complex(normal)
        grid = pixel_coordinates(self.shape)
        x, y = grid[0, :, 0], grid[:, 0, 1]
        down = torch.polar(torch.ones(()).double(), y[:, None] * waves[:, 1])
        across = torch.polar(torch.ones(()).double(), waves[:, :1] * x)
        image = ((down * amplitude) @ across).real
        noise = torch.randn(self.shape, dtype=torch.float64, generator=generator)
        return (image + math.sqrt(self.series.nugget) * noise).to(self.like)

    def _waves(self, generator: torch.Generator) -> Float64[Tensor, "waves 2"]:
        series = self.series
        chosen = torch.multinomial(series.weights, _FEATURES, replacement=True, generator=generator)
        powers = torch.tensor(series.powers)[chosen]
        normal = torch.randn(_FEATURES, 2, dtype=torch.float64, generator=generator)
        if self.frequencies is None:
            return self.frequency_std * powers.double().sqrt()[:, None] * normal
        B = self.frequencies
        root = torch.linalg.cholesky(B.mT @ B / len(B) + 1e-12 * B.square().mean() * torch.eye(2))
        waves = powers.double().sqrt()[:, None] * (normal @ root.mT)
        summed = powers <= _SUMMED[-1]
        waves[summed] = 0.0
        owner = torch.arange(_FEATURES)[summed].repeat_interleave(powers[summed])
        rows = torch.randint(len(B), owner.shape, generator=generator)
        signs = 2.0 * torch.randint(2, owner.shape, generator=generator) - 1
        total: Tensor = waves.index_add(0, owner, signs.double()[:, None] * B[rows])
        return total
