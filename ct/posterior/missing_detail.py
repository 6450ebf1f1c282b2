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
_TELLING = 0.2  # of a band's rays, which say how much larger errors are than known ones
_SURE = 2.7  # gain in log likelihood that chance has in one of a hundred cases (χ²₁, one-sided)


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
    *,
    along_rays: Float64[Tensor, "parts views detectors"] | None = None,
) -> BeyondKnown:
    """Return how much variance beyond the predictable there is.

    In a band b of frequencies the energy q of a held-out ray is, on average,

        (1 + a) q̃ + Σ_j Σ_κ c_jκ g_bκ (spacing/π) h_j A p_j + the noise's,

    with q̃ the energy of a like ray in a scan whose truth is known, p_j maps such as the body's or
    the known errors', h_j the share of p_j's detail that is missing along the ray, and g_bκ the
    band's share of the power spectrum exp(−k/κ), κ = 0.07 and 0.3 a pixel. What edges lack beyond
    the known scan's errors would pass for detail of the air beside them, had it no map of its own.
    The scale a is found first, from the fifth of a band's rays along which the known scan errs
    most: elsewhere noise that is larger than it is said to be, or that neighbouring bins share,
    would pass for errors. Then c_jκ follow, from all rays. Detail that the method flattens lies
    anywhere in the body, errors that the known scan shares lie at its edges: so the rays tell them
    apart, by where they run and by their frequencies. Rays along which much is known to go wrong
    count little, as their energies vary most. Detail that makes rays hardly likelier (by Akaike's
    criterion) is taken for none, and so is an a that is not significant.

    Args:
        rays: held-out rays.
        parts: maps of where detail may be missing, in the squared image's units.
        operator: A.
        bands: filters for these views.
        pixel_size: in mm.
        along_rays: h_j; None for 1.

    Returns:
        1 + a ≥ 1, and Σ_κ c_jκ ≥ 0, one a part.

    Source:
        H. Akaike, A new look at the statistical model identification, IEEE Transactions on
        Automatic Control 19, 1974.
    """
    lines = operator(parts.to(rays.residual)).double() * bands.spacing / math.pi
    if along_rays is not None:
        lines = lines * along_rays
    spectra = [bands.shares(pixel_size, decay) for decay in _DECAYS]
    n_bands = len(bands.responses)
    stride = max(2, -(-n_bands * rays.residual.numel() // _MOST_RAYS))
    measured = rays.measured.double()
    tiny = torch.finfo(torch.float64).tiny
    squares, errors, details, noises, telling = [], [], [], [], []
    for band in range(n_bands):
        like = [bands.energy(one, band) for one in rays.predictable]
        predicted = blurred_along_last(torch.stack(like).mean(0), _ALONG_RAYS)
        # where neighbours were not measured, a filtered ray holds that much less of everything
        held = bands.spread_out(measured, band)
        held = held / held.amax().clamp(min=tiny)
        # a band's filter carries energy to rays beside those that cross the detail
        carried = bands.spread_out(lines, band) / max(bands.gain(band), tiny)
        fine = torch.cat([shares[band] * carried for shares in spectra])
        squares.append(bands.energy(rays.residual, band)[:, ::stride].flatten())
        errors.append((predicted * held)[:, ::stride].flatten())
        details.append((fine * held)[..., ::stride].flatten(1))
        noises.append(bands.spread_out(rays.noise_variance, band)[:, ::stride].flatten())
        telling.append(errors[-1] >= errors[-1].quantile(1 - _TELLING))
    energies = _Energies(
        squares=torch.cat(squares),
        errors=torch.cat(errors),
        detail=torch.cat(details, dim=1).T,
        noise=torch.cat(noises),
    )
    # a band's energies are those of as many independent values as it has frequencies
    independent = stride / n_bands
    scale = energies.among(torch.cat(telling)).scale_of_errors(independent)
    detail = energies.detail_factors(scale, independent)
    return BeyondKnown(scale=scale, detail=detail.reshape(len(spectra), -1).sum(0))


@dataclass(frozen=True, kw_only=True)
class _Energies:
    """Energies of held-out rays in bands of frequency, and what they may be sums of.

    What chance alone would show is none: of detail by Akaike's criterion, a gain in log likelihood
    of one for each factor; of a scale, which widens all error bars, in 99 of 100 cases.
    """

    squares: Float64[Tensor, " points"]
    errors: Float64[Tensor, " points"]
    detail: Float64[Tensor, "points columns"]
    noise: Float64[Tensor, " points"]

    def among(self, some: Bool[Tensor, " points"]) -> _Energies:
        """Return some of the points."""
        return _Energies(
            squares=self.squares[some],
            errors=self.errors[some],
            detail=self.detail[some],
            noise=self.noise[some],
        )

    def scale_of_errors(self, independent: float) -> float:
        """Return 1 + a, found together with detail."""
        known = self.errors + self.noise
        columns = torch.cat([self.errors[:, None], self.detail], dim=1)
        factors, likelihood = self._fitted(columns, known)
        _, without = self._fitted(self.detail, known)
        return 1 + float(factors[0]) if (likelihood - without) * independent >= _SURE else 1.0

    def detail_factors(self, scale: float, independent: float) -> Float64[Tensor, " columns"]:
        """Return the factors of detail beside errors of that scale."""
        known = scale * self.errors + self.noise
        factors, likelihood = self._fitted(self.detail, known)
        gain = (likelihood - self._log_likelihood(known)) * independent
        return factors if gain >= len(factors) else torch.zeros_like(factors)

    def _fitted(
        self, columns: Float64[Tensor, "points columns"], known: Float64[Tensor, " points"]
    ) -> tuple[Float64[Tensor, " columns"], float]:
        factors = fit_variance(self.squares, columns, known)
        return factors, self._log_likelihood(known + columns @ factors)

    def _log_likelihood(self, variance: Float64[Tensor, " points"]) -> float:
        variance = variance + 1e-9 * self.squares.mean() + torch.finfo(variance.dtype).tiny
        return -0.5 * float((variance.log() + self.squares / variance).sum())
