"""Where detail may be missing, and along which rays: exact ones leave little of it unseen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ct.projectors.operator import Projector

_HALF_MISSING = 1 / 8  # of the noise variance of the body's rays: along such a ray half is missing
_STILL_MISSING_AT_EDGES = 0.25
"""An image of all views has most of edges' detail; flat regions' is never seen."""
_THROUGH = 0.1  # of the longest path in the body, which makes a ray one of the body's
_LEAST_CONTRAST = 1.05  # of pixels' noise in the body, below which it has no rim
_OUTERMOST = 0.02  # of the body's pixels
_MOST_PIXELS = 1_000_000  # that quantiles look at


@dataclass(frozen=True, kw_only=True)
class DetailParts:
    """Parts of an image that may each lack detail of their own amount.

    Attributes:
        names: of the parts.
        maps: p_j, what an amount of 1 lacks where rays are noisy, in the squared image's units.
        along_rays: h_j, how much of that is missing along each ray, in [0, 1].
        variances: what an amount of 1 adds to each pixel's variance: p_j times h_j's mean over the
            rays through the pixel.
    """

    names: tuple[str, ...]
    maps: Float64[Tensor, "parts rows columns"]
    along_rays: Float64[Tensor, "parts views detectors"]
    variances: Float64[Tensor, "parts rows columns"]

    def variance(self, amounts: Float64[Tensor, " parts"]) -> Float64[Tensor, "rows columns"]:
        """Return what an image of all views lacks.

        Args:
            amounts: what images without a fold of the views lack, along those views. Where the
                method is known to err an image of all views lacks a quarter of it, elsewhere all.
        """
        lacking: Tensor = torch.tensordot(self._lacking(amounts), self.variances, dims=1)
        return lacking

    def said(self, amounts: Float64[Tensor, " parts"]) -> dict[str, float]:
        """Return the standard deviations of what is missing, by names for a result's diagnostics.

        Args:
            amounts: as of `variance`.
        """
        *flat, edges = self._lacking(amounts).tolist()
        unit = float(self.maps[-1].mean())
        found = {
            f"missing_detail_std_{name}": math.sqrt(amount * unit)
            for name, amount in zip(self.names, flat, strict=False)
        }
        return {**found, "missing_detail_over_error": math.sqrt(edges)}

    def _lacking(self, amounts: Float64[Tensor, " parts"]) -> Float64[Tensor, " parts"]:
        share = torch.ones_like(amounts)
        share[-1] = _STILL_MISSING_AT_EDGES
        return amounts * share


def detail_parts(
    errors: Float64[Tensor, "rows columns"],
    body: Float64[Tensor, "rows columns"],
    noise_variance: Float[Tensor, "views detectors"],
    measured: Bool[Tensor, "views detectors"],
    operator: Projector,
) -> DetailParts:
    """Return the parts of an image: the body, its rim, the air, and where the method errs.

    A reconstruction that weighs rays by their noise follows exact rays closely. So of the air's
    detail, as far as it runs along a ray of variance σ²,

        h = σ² / (σ² + s/8), s the median of σ² over rays through the body

    is missing: where photons are counted, rays that cross nothing but air, which are the most
    exact, show little of it, and yet it is missing in all directions whose rays cross the body too.
    For the same reason a body's rim, which exact rays touch, lacks less than its inside: they are
    told apart by h's mean over the rays through a pixel. Where all rays are alike so is h, and the
    body has no rim.

    Args:
        errors: variance of the errors that are known.
        body: the body's share of each pixel's neighbourhood.
        noise_variance: σ² of each ray.
        measured: which rays were.
        operator: A.

    Returns:
        Parts "body", "rim", "outside", in units of the mean of `errors`, and "error".
    """
    h = along_rays(noise_variance, measured, operator(body))
    weights = measured.to(h.dtype)
    crossing = operator.T(weights)
    seen = crossing > 1e-6 * crossing.amax().clamp(min=torch.finfo(h.dtype).tiny)
    noisiness = torch.where(
        seen, operator.T(h * weights) / torch.where(seen, crossing, 1.0), 1.0
    ).clamp(0, 1)
    inside = _inside(noisiness, body)
    unit = errors.mean().clamp(min=torch.finfo(torch.float64).tiny)
    everywhere, anywhere = torch.ones_like(h), torch.ones_like(noisiness)
    maps = torch.stack([
        unit * body * inside, unit * body * (1 - inside), unit * (1 - body), errors,
    ])  # fmt: skip
    return DetailParts(
        names=("body", "rim", "outside", "error"),
        maps=maps,
        along_rays=torch.stack([everywhere, everywhere, h, everywhere]),
        variances=maps * torch.stack([anywhere, anywhere, noisiness, anywhere]),
    )


def along_rays(
    noise_variance: Float[Tensor, "views detectors"],
    measured: Bool[Tensor, "views detectors"],
    paths: Float[Tensor, "views detectors"],
) -> Float64[Tensor, "views detectors"]:
    """Return which share of the air's detail is missing along rays, in units of a noisy ray's.

    Args:
        noise_variance: σ² of each ray.
        measured: which rays were; others get 1.
        paths: of the rays, in the body; those of less than a tenth of the longest do not count for
            s, however much air there is.

    Returns:
        σ² / (σ² + s/8), with s the median of the σ² of the body's rays.

    Example:
        >>> there, paths = torch.tensor([[True, True, True]]), torch.tensor([[0.0, 3.0, 4.0]])
        >>> along_rays(torch.tensor([[1.0, 8.0, 56.0]]), there, paths).tolist()
        [[0.5, 0.8888888888888888, 0.9824561403508771]]
    """
    variance = noise_variance.double()
    through = measured & (paths >= _THROUGH * paths.amax())
    if not bool(through.any()):
        return torch.ones_like(variance)
    half = _HALF_MISSING * variance[through].median()
    tiny = torch.finfo(torch.float64).tiny
    return torch.where(measured, variance / (variance + half).clamp(min=tiny), 1.0)


def _inside(
    noisiness: Float64[Tensor, "rows columns"], body: Float64[Tensor, "rows columns"]
) -> Float64[Tensor, "rows columns"]:
    """Return 1 for the body's pixels whose rays are noisiest, 0 for those of the most exact."""
    values = noisiness[body > 0.5]
    if len(values) == 0:
        return torch.ones_like(noisiness)
    values = values[:: -(-len(values) // _MOST_PIXELS)]
    low, high = values.quantile(values.new_tensor([_OUTERMOST, 1 - _OUTERMOST]))
    if not high > _LEAST_CONTRAST * low:
        return torch.ones_like(noisiness)
    share: Tensor = ((noisiness - low) / (high - low)).clamp(0, 1)
    return share
