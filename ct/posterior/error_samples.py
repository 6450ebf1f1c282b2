"""Joint samples of an image with a given standard deviation, and errors correlated as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.posterior.detail_spectrum import DetailSpectrum

# places of the random streams
_WEIGHTS, _DETAIL = 0, 1
_LEAST_POWER = 1e-12  # of the ring that has most
_RINGS = 40  # of frequencies, up to the highest of a row
_DRAWN_TOGETHER = 16  # normal numbers, by torch: parts of so many are those of the whole
_PIXELS_AT_ONCE = 2**16  # of samples in work


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much of a jackknife's spread is error, at each frequency.

    Attributes:
        response: at the frequencies of `torch.fft.rfft2`.
    """

    response: Float64[Tensor, "rows frequencies"]


def known_gain(
    error: Float64[Tensor, "rows columns"], folds: Float[Tensor, "folds rows columns"]
) -> Gain:
    """Return √(power of an error over the power that a jackknife gives it), ring by ring.

    Errors of large regions are smaller than a jackknife says: views that are evenly spread share
    low frequencies, and one that is lacking is made up for by its neighbours.

    Args:
        error: of an image whose truth is known.
        folds: that scan's images, each lacking a fold of its views.

    Returns:
        The gain at each frequency.
    """
    ring = _rings(error)
    power = torch.fft.rfft2(error).abs().square()
    claimed = torch.fft.rfft2(_deviations(folds)).abs().square().sum(0)
    # a GPU would add in another order each time
    flat = ring.flatten().cpu()
    sums = [
        torch.bincount(flat, weights=values.flatten().cpu(), minlength=_RINGS)
        for values in (power, claimed)
    ]
    # where a method leaves nothing, such as at frequencies that it filters out, nothing is scaled
    told = sums[1] > _LEAST_POWER * sums[1].amax()
    gain = torch.where(told, sums[0] / torch.where(told, sums[1], 1.0), 0.0).sqrt()
    return Gain(response=gain.to(error.device)[ring])


@dataclass(frozen=True, kw_only=True)
class ErrorParts:
    """A pixel's variance in two parts, what is known of its neighbours' errors and what is not.

    Attributes:
        shared: deviations d_k whose squares' sum is the variance that a jackknife explains.
        detail: standard deviation of the rest.
    """

    shared: Float64[Tensor, "folds rows columns"]
    detail: Float64[Tensor, "rows columns"]

    @property
    def explained(self) -> float:
        """How much of all pixels' variance a jackknife explains, in [0, 1]."""
        shared = self.shared.square().sum()
        whole = shared + self.detail.square().sum()
        return float(shared / whole.clamp(min=torch.finfo(torch.float64).tiny))


def error_parts(
    std: Float[Tensor, "rows columns"],
    folds: Float[Tensor, "folds rows columns"],
    gain: Gain,
) -> ErrorParts:
    """Return what a jackknife explains of the variance of every pixel, and the rest.

    Deviations are G d_k with d_k = √((K − 1)/K) (fold_k − their mean) and G the gain: a jackknife's
    covariance, which holds what neighbouring errors have in common. Where it is more than the
    variance, it is scaled down.

    Args:
        std: of every pixel.
        folds: K images that each lack a fold of the views.
        gain: how much of their spread is error.
    """
    spectrum = torch.fft.rfft2(_deviations(folds)) * gain.response
    deviations = torch.fft.irfft2(spectrum, s=tuple(std.shape))
    own = deviations.square().sum(0)
    variance = std.double().square()
    kept = (variance / own.clamp(min=torch.finfo(torch.float64).tiny)).clamp(max=1).sqrt()
    rest = (variance - kept.square() * own).clamp(min=0).sqrt()
    return ErrorParts(shared=kept * deviations, detail=rest)


def error_samples(
    mean: Float[Tensor, "rows columns"],
    std: Float[Tensor, "rows columns"],
    parts: ErrorParts,
    *,
    detail: DetailSpectrum,
    n: int,
    seed: int,
) -> Float[Tensor, "samples rows columns"]:
    """Return samples that have exactly this mean and standard deviation in every pixel.

    Deviations are Σ_k a_k d_k, a_k standard normal and d_k the shared ones, and independent detail
    with a power spectrum of its own: by it regions of many pixels are known better than single
    ones, or not.

    Args:
        mean: the image.
        std: of every pixel.
        parts: of its square.
        detail: its spectrum.
        n: how many samples, at least 2.
        seed: of the weights and the detail.

    Returns:
        The samples, in the mean's dtype.
    """
    weights = torch.randn(
        n, len(parts.shared), dtype=torch.float64, generator=seeded_generator(seed, _WEIGHTS)
    ).to(parts.shared.device)

    def drawn() -> Iterator[tuple[range, Float64[Tensor, "some rows columns"]]]:
        for some, noise in _detail(mean, detail, n=n, seed=seed):
            chosen = weights[some.start : some.stop]
            yield some, torch.tensordot(chosen, parts.shared, dims=1) + parts.detail * noise

    # drawn twice, so that they are never all there in float64
    total, squares = torch.zeros_like(parts.detail), torch.zeros_like(parts.detail)
    for _, raw in drawn():
        total += raw.sum(0)
        squares += raw.square().sum(0)
    centre = total / n
    spread = ((squares - n * centre.square()) / (n - 1)).clamp(min=0).sqrt()
    factor = std.double() / spread.clamp(min=torch.finfo(torch.float64).tiny)
    samples = mean.new_empty(n, *mean.shape)
    for some, raw in drawn():
        samples[some.start : some.stop] = mean.double() + factor * (raw - centre)
    return samples


def _deviations(folds: Float[Tensor, "folds rows columns"]) -> Float64[Tensor, "folds r c"]:
    k = len(folds)
    images = folds.double()
    deviations: Tensor = ((k - 1) / k) ** 0.5 * (images - images.mean(0))
    return deviations


def _detail(
    like: Float[Tensor, "rows columns"], spectrum: DetailSpectrum, *, n: int, seed: int
) -> Iterator[tuple[range, Float64[Tensor, "some rows columns"]]]:
    """Yield stationary noise of variance 1 and mean 0 with the spectrum of missing detail."""
    k = _frequencies(like)
    response = (k > 0) * k ** (spectrum.power / 2) * torch.exp(-k / (2 * spectrum.decay))
    power = torch.fft.irfft2(response.square() + 0j, s=tuple(like.shape))[0, 0]
    response = response / power.sqrt()
    generator = seeded_generator(seed, _DETAIL)
    together = _DRAWN_TOGETHER // math.gcd(like.numel(), _DRAWN_TOGETHER)
    at_once = together * max(1, _PIXELS_AT_ONCE // (together * like.numel()))
    for first in range(0, n, at_once):
        some = range(first, min(first + at_once, n))
        white = torch.randn(len(some), *like.shape, dtype=torch.float64, generator=generator)
        shaped = torch.fft.rfft2(white.to(like.device)) * response
        yield some, torch.fft.irfft2(shaped, s=tuple(like.shape))


def _frequencies(like: Float[Tensor, "rows columns"]) -> Float64[Tensor, "rows frequencies"]:
    rows, columns = like.shape
    return torch.hypot(
        torch.fft.fftfreq(rows, dtype=torch.float64, device=like.device)[:, None],
        torch.fft.rfftfreq(columns, dtype=torch.float64, device=like.device),
    )


def _rings(like: Float[Tensor, "rows columns"]) -> Tensor:
    return (_frequencies(like) * 2 * _RINGS).long().clamp(max=_RINGS - 1)
