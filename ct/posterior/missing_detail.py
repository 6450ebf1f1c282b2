"""Detail that no image of the measurements shows: how much of it held-out rays still tell of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ct.posterior.blur import blurred_along_last
from ct.posterior.ray_bands import RayBands
from ct.posterior.variance_fit import fit_variance
from ct.projectors.operator import Projector

_DECAYS = (0.07, 0.3)  # cycles a pixel: detail has a power spectrum of smooth and of fine parts
_ALONG_RAYS = 3.0  # bins, over which the predicted energy is averaged
_MOST_RAYS = 200_000  # that the fit looks at


@dataclass(frozen=True, kw_only=True)
class HeldOutRays:
    """What was predicted of rays that were held out, and what was measured.

    Attributes:
        residual: measurement minus prediction; 0 where nothing was measured.
        noise_variance: of each ray; 0 where nothing was measured.
        measured: which rays were.
        predictable: what the residual without noise might be, from a scan whose truth is known, of
            neighbouring views: its energy is what is known to go wrong there.
    """

    residual: Float[Tensor, "views detectors"]
    noise_variance: Float[Tensor, "views detectors"]
    measured: Bool[Tensor, "views detectors"]
    predictable: Float[Tensor, "two views detectors"]


@dataclass(frozen=True, kw_only=True)
class BeyondKnown:
    """What held-out rays tell of errors beyond those of the scan whose truth is known.

    Attributes:
        scale: how many times the known scan's squared errors are, at least 1.
        detail: variance of missing detail, in units of each part.
    """

    scale: float
    detail: Float64[Tensor, " parts"]


def missing_detail(
    rays: HeldOutRays,
    parts: Float64[Tensor, "parts rows columns"],
    operator: Projector,
    bands: RayBands,
    pixel_size: float,
) -> BeyondKnown:
    """Return how much variance beyond the predictable there is.

    In a band b of frequencies the energy q of a held-out ray is, on average,

        (1 + a) q̃ + Σ_j Σ_κ c_jκ g_bκ (spacing/π) A p_j + the noise's,

    with q̃ the energy of a like ray in a scan whose truth is known, p_j maps such as the body's, and
    g_bκ the band's share of the power spectrum exp(−k/κ), κ = 0.07 and 0.3 a pixel. Detail that the
    method flattens lies anywhere in the body, errors that the known scan shares lie at its edges:
    so the rays tell them apart, by where they run and by their frequencies. Rays along which much
    is known to go wrong count little, as their energies vary most. Where rays are hardly likelier
    with detail than without (by Akaike's criterion), there is none.

    Args:
        rays: held-out rays.
        parts: maps of where detail may be missing, in the squared image's units.
        operator: A.
        bands: filters for these views.
        pixel_size: in mm.

    Returns:
        1 + a ≥ 1, and Σ_κ c_jκ ≥ 0, one a part.

    Source:
        H. Akaike, A new look at the statistical model identification, IEEE Transactions on
        Automatic Control 19, 1974.
    """
    lines = operator(parts.to(rays.residual)).double() * bands.spacing / math.pi
    spectra = [bands.shares(pixel_size, decay) for decay in _DECAYS]
    n_bands = len(bands.responses)
    stride = max(2, -(-n_bands * rays.residual.numel() // _MOST_RAYS))
    measured = rays.measured.double()
    squares, columns, known = [], [], []
    for band in range(n_bands):
        like = [bands.energy(one, band) for one in rays.predictable]
        predicted = blurred_along_last(torch.stack(like).mean(0), _ALONG_RAYS)
        # where neighbours were not measured, a filtered ray holds that much less of everything
        held = bands.spread_out(measured, band)
        held = held / held.amax().clamp(min=torch.finfo(held.dtype).tiny)
        fine = [shares[band] * line for shares in spectra for line in lines]
        columns.append((torch.stack([predicted, *fine]) * held)[..., ::stride].flatten(1))
        squares.append(bands.energy(rays.residual, band)[:, ::stride].flatten())
        noise = bands.spread_out(rays.noise_variance, band)
        known.append((predicted * held + noise)[:, ::stride].flatten())
    energies = _Energies(
        squares=torch.cat(squares), columns=torch.cat(columns, dim=1).T, known=torch.cat(known)
    )
    fitted, likelihood = energies.likeliest(1 + len(spectra) * len(parts))
    # a band's energies are those of as many independent values as it has frequencies
    independent = stride / n_bands
    alone, likelihood_alone = energies.likeliest(1)
    if (likelihood - likelihood_alone) * independent < len(fitted) - 1:
        fitted = torch.cat([alone, torch.zeros_like(fitted[1:])])
    detail = fitted[1:].reshape(len(spectra), -1).sum(0)
    return BeyondKnown(scale=1 + float(fitted[0]), detail=detail)


@dataclass(frozen=True, kw_only=True)
class _Energies:
    squares: Float64[Tensor, " points"]
    columns: Float64[Tensor, "points columns"]
    known: Float64[Tensor, " points"]

    def likeliest(self, n_columns: int) -> tuple[Float64[Tensor, " columns"], float]:
        """Return factors of the first columns, and the log likelihood of Gaussian values."""
        columns = self.columns[:, :n_columns]
        factors = fit_variance(self.squares, columns, self.known)
        variance = columns @ factors + self.known
        variance = variance + 1e-9 * self.squares.mean() + torch.finfo(variance.dtype).tiny
        return factors, -0.5 * float((variance.log() + self.squares / variance).sum())
