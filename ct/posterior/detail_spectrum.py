"""How fine the detail is that an image lacks, as held-out rays tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ct.posterior.missing_detail import HeldOutRays
from ct.posterior.ray_bands import N_BANDS, RayBands
from ct.posterior.variance_fit import fit_variance

_DECAYS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.3)  # cycles a pixel
_USUAL = 2  # power of k: views tell of low frequencies first
_FLAT = 0  # where what no image explains, such as beam hardening, leaves errors of low frequencies
_CLEARLY = 1.0  # over all bands: spectra of either power that differ by less are alike


@dataclass(frozen=True, kw_only=True)
class DetailSpectrum:
    """The power spectrum k^power exp(−k/decay), k in cycles a pixel.

    Attributes:
        power: of k.
        decay: κ.
    """

    power: int
    decay: float


def detail_spectrum(
    rays: HeldOutRays, explained: float, bands: RayBands, pixel_size: float
) -> DetailSpectrum:
    """Return the spectrum of missing detail that held-out rays find likeliest.

    In a band of frequencies the rays' energy is, on average, the noise's and a multiple of

        explained · (share of the known scan's errors) + (1 − explained) · (share of detail).

    Bands where there is hardly more than noise count little.

    Args:
        rays: held-out rays.
        explained: how much of the errors' variance has the spectrum of the known scan's errors.
        bands: filters for these views.
        pixel_size: in mm.

    Returns:
        One of a few, with a power of 2, or of 0 where that is clearly likelier.
    """
    squares = _in_bands([bands.energy(rays.residual, band) for band in range(N_BANDS)])
    noise = _in_bands([bands.spread_out(rays.noise_variance, band) for band in range(N_BANDS)])
    known = _in_bands([
        bands.energy(rays.predictable, band).mean(0) * rays.measured for band in range(N_BANDS)
    ])
    tiny = torch.finfo(torch.float64).tiny
    known = explained * known / known.sum().clamp(min=tiny)

    def cost(one: DetailSpectrum) -> float:
        detail = known.new_tensor(bands.shares(pixel_size, one.decay, one.power))
        shape = known + (1 - explained) * detail
        variance = noise + fit_variance(squares, shape[:, None], noise) * shape
        variance = variance.clamp(min=1e-9 * float(squares.mean()) + tiny)
        return float((variance.log() + squares / variance).sum())

    usual, flat = (
        min((DetailSpectrum(power=power, decay=decay) for decay in _DECAYS), key=cost)
        for power in (_USUAL, _FLAT)
    )
    return flat if cost(flat) < cost(usual) - _CLEARLY else usual


def _in_bands(energies: list[Float64[Tensor, "views detectors"]]) -> Float64[Tensor, " bands"]:
    sums: Tensor = torch.stack([energy.sum() for energy in energies]).cpu()
    return sums
