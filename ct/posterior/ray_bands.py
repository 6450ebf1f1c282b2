"""Energies of rays in bands of frequency, which say what errors of single pixels are.

By the projection-slice theorem an image of squared norm ‖e‖² has ‖e‖² = ∫₀^π dθ ∫ |ν| |R̂_θ(ν)|² dν,
where R̂_θ is the Fourier transform of its view along θ: filtered by √|ν|, rays have the energy of
pixels, however strongly the pixels along a ray are correlated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.geometry import FanBeam, Scan

N_BANDS = 10


@dataclass(frozen=True, kw_only=True)
class RayBands:
    """Filters √|k| within bands of k, cycles a detector bin, for views of some length.

    Attributes:
        edges: of the bands, from 0 to 0.5 at most.
        responses: of each filter at the frequencies of `torch.fft.rfft` of padded views.
        n_padded: bins of a padded view.
        spacing: between bins, at the axis of rotation, in mm.
    """

    edges: tuple[float, ...]
    responses: Float64[Tensor, "bands frequencies"]
    n_padded: int
    spacing: float

    def energy(
        self, rays: Float[Tensor, "*batch views detectors"], band: int
    ) -> Float64[Tensor, "*batch views detectors"]:
        """Return the squares of the filtered rays.

        An image of independent pixels of variance v has the energy spacing/π · A v on average,
        summed over the bands, where A v are v's line integrals in mm.

        Args:
            rays: values, such as residuals.
            band: number of the band.

        Returns:
            One energy a ray.
        """
        spectrum = torch.fft.rfft(rays.double(), n=self.n_padded) * self.responses[band]
        filtered: Tensor = torch.fft.irfft(spectrum, n=self.n_padded)
        return filtered[..., : rays.shape[-1]].square()

    def spread_out(
        self, variance: Float[Tensor, "*batch views detectors"], band: int
    ) -> Float64[Tensor, "*batch views detectors"]:
        """Return the energy that independent noise has on average.

        Args:
            variance: of each ray's noise.
            band: number of the band.

        Returns:
            One energy a ray.
        """
        kernel = torch.fft.irfft(self.responses[band].to(torch.complex128), n=self.n_padded)
        squared = torch.fft.rfft(kernel.square())
        spectrum = torch.fft.rfft(variance.double(), n=self.n_padded) * squared
        spread: Tensor = torch.fft.irfft(spectrum, n=self.n_padded)
        return spread[..., : variance.shape[-1]].clamp(min=0)

    def gain(self, band: int) -> float:
        """Return the energy of a filtered ray far inside a view of noise of variance 1.

        Args:
            band: number of the band; 0 is returned for one that holds no frequency.
        """
        power = self.responses[band].square()
        # of a real signal's spectrum the second half, which is not kept, mirrors the first
        return float((2 * power.sum() - power[-1]) / self.n_padded)

    def shares(self, pixel_size: float, decay: float, power: int = 0) -> list[float]:
        """Return the bands' shares of an isotropic power spectrum k^power exp(−k/decay), k a pixel.

        Args:
            pixel_size: in mm.
            decay: cycles a pixel.
            power: of k; large where low frequencies are known.

        Returns:
            One share a band, 1 together.
        """
        scale = pixel_size / self.spacing  # from cycles a bin to cycles a pixel
        ends = torch.tensor(self.edges, dtype=torch.float64) * scale
        # the integral of k^(power + 1) exp(−k/decay) is a gamma distribution's
        order = torch.tensor(power + 2, dtype=torch.float64)
        below = torch.special.gammainc(order, ends.clamp(max=0.5) / decay)
        shares: list[float] = (below.diff() / below[-1]).tolist()
        return shares


def ray_bands(scan: Scan, pixel_size: float, device: torch.device) -> RayBands:
    """Return the filters for a scan's views.

    Args:
        scan: where the rays are. Near the axis of rotation a fan's rays are taken for parallel.
        pixel_size: in mm.
        device: where to compute.

    Returns:
        Ten bands of equal width, up to the finest frequency that both bins and pixels have: what
        rays show beyond half a cycle a pixel is no pixel's error.
    """
    n_padded = 2 ** math.ceil(math.log2(2 * scan.n_detectors))
    k = torch.fft.rfftfreq(n_padded, dtype=torch.float64, device=device)
    spacing = scan.detector_spacing
    if isinstance(scan, FanBeam):
        spacing /= scan.magnification
    finest = 0.5 * min(1.0, spacing / pixel_size)
    edges = tuple(finest * band / N_BANDS for band in range(N_BANDS + 1))
    # the finest frequency itself belongs to the last band
    band_of = (k * N_BANDS / finest).long() - (k == finest).long()
    inside = band_of == torch.arange(N_BANDS, device=device)[:, None]
    return RayBands(
        edges=edges,
        responses=torch.where(inside, k.sqrt(), 0.0),
        n_padded=n_padded,
        spacing=spacing,
    )
