"""How fine the detail is that an image lacks, as held-out rays tell."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from ct.posterior.missing_detail import HeldOutRays
from ct.posterior.ray_bands import N_BANDS, RayBands
from ct.posterior.variance_fit import fit_variance

_DECAYS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.3)  # cycles a pixel
_POWER = 2  # of k: views tell of low frequencies first


def detail_decay(rays: HeldOutRays, explained: float, bands: RayBands, pixel_size: float) -> float:
    """Return the decay κ of the spectrum k² exp(−k/κ) that held-out rays find likeliest.

    In a band of frequencies the rays' energy is, on average, the noise's and a multiple of

        explained · (share of the known scan's errors) + (1 − explained) · (share of k² exp(−k/κ)).

    Bands where there is hardly more than noise count little.

    Args:
        rays: held-out rays.
        explained: how much of the errors' variance has the spectrum of the known scan's errors.
        bands: filters for these views.
        pixel_size: in mm.

    Returns:
        κ, one of a few, in cycles a pixel.
    """
    squares = _in_bands([bands.energy(rays.residual, band) for band in range(N_BANDS)])
    noise = _in_bands([bands.spread_out(rays.noise_variance, band) for band in range(N_BANDS)])
    known = _in_bands([
        bands.energy(rays.predictable, band).mean(0) * rays.measured for band in range(N_BANDS)
    ])
    tiny = torch.finfo(torch.float64).tiny
    known = explained * known / known.sum().clamp(min=tiny)

    def cost(decay: float) -> float:
        detail = known.new_tensor(bands.shares(pixel_size, decay, _POWER))
        shape = known + (1 - explained) * detail
        variance = noise + fit_variance(squares, shape[:, None], noise) * shape
        variance = variance.clamp(min=1e-9 * float(squares.mean()) + tiny)
        return float((variance.log() + squares / variance).sum())

    return min(_DECAYS, key=cost)


def _in_bands(energies: list[Float64[Tensor, "views detectors"]]) -> Float64[Tensor, " bands"]:
    sums: Tensor = torch.stack([energy.sum() for energy in energies]).cpu()
    return sums
