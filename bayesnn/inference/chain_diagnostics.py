"""Whether Markov chains have converged, and how many independent draws theirs are worth."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

_TAILS = (0.05, 0.95)


def split_r_hat(draws: Float[Tensor, "chains draws *quantities"]) -> Float64[Tensor, "*quantities"]:
    """Return the rank-normalised split R-hat of each quantity.

    Every chain is cut into halves. With W the mean of their variances and V the variance that
    between and within halves gives together, R-hat = √(V/W); values are replaced by normal
    quantiles of their ranks, so heavy tails do no harm. The larger of the R-hats of the values
    and of their distances from the median is returned: chains must agree in place and in width.

    Args:
        draws: at least 4 of each chain.

    Returns:
        About 1 where the chains agree; above 1.01 they have not converged. Infinite where no
        chain moved.

    Raises:
        ValueError: fewer than 4 draws a chain.

    Source:
        A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, Rank-normalization,
        folding, and localization: an improved R-hat, Bayesian Analysis 16, 2021.

    Example:
        >>> draws = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
        >>> apart = draws + torch.arange(4)[:, None]
        >>> bool(split_r_hat(draws) < 1.01), bool(split_r_hat(apart) > 1.4)
        (True, True)
    """
    halves = _halves(draws)
    median = _quantile(_together(halves).sort(-1).values, 0.5)
    distances = (halves - median).abs()
    return torch.maximum(_r_hat(_normal_scores(halves)), _r_hat(_normal_scores(distances)))


def bulk_ess(draws: Float[Tensor, "chains draws *quantities"]) -> Float64[Tensor, "*quantities"]:
    """Return how many independent draws would know each quantity's centre as well.

    N/τ with N the number of all draws and τ = 1 + 2 Σ_t ρ_t, where ρ_t is the correlation of draws
    t apart, from the normal scores of all half chains together; the sum ends where pairs of
    neighbours sum to less than nothing (Geyer's initial monotone sequence).

    Args:
        draws: at least 4 of each chain.

    Returns:
        The effective sample sizes; 0 where no chain moved. Below 100 a chain, R-hat and the sizes
        themselves are uncertain.

    Raises:
        ValueError: fewer than 4 draws a chain.

    Source:
        Vehtari et al. 2021 (see `split_r_hat`); C. J. Geyer, Statistical Science 7, 1992.

    Example:
        >>> draws = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
        >>> 1500 < float(bulk_ess(draws)) < 2500
        True
    """
    return _ess(_normal_scores(_halves(draws)))


def tail_ess(draws: Float[Tensor, "chains draws *quantities"]) -> Float64[Tensor, "*quantities"]:
    """Return how many independent draws would know each quantity's tails as well.

    The smaller one of the effective sample sizes of {x ≤ q}, for q the 5 % and the 95 % quantile
    of all draws.

    Args:
        draws: at least 4 of each chain.

    Returns:
        The effective sample sizes; 0 where no draw leaves the quantile.

    Raises:
        ValueError: fewer than 4 draws a chain.

    Source:
        Vehtari et al. 2021 (see `split_r_hat`).

    Example:
        >>> draws = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
        >>> 1200 < float(tail_ess(draws)) < 2500
        True
    """
    halves = _halves(draws)
    together = _together(draws.double()).sort(-1).values
    sizes = []
    for level in _TAILS:
        quantile = _quantile(together, level)
        sizes.append(_ess((halves <= quantile).double()))
    return torch.minimum(*sizes)


def _halves(
    draws: Float[Tensor, "chains draws *quantities"],
) -> Float64[Tensor, "halves half_draws *quantities"]:
    length = draws.shape[1]
    if length < 4:
        raise ValueError(f"draws: expected at least 4 of each chain, got {length}; draw more.")
    half = length // 2
    return torch.cat((draws[:, :half], draws[:, -half:])).double()


def _together(
    draws: Float64[Tensor, "chains draws *quantities"],
) -> Float64[Tensor, "*quantities all_draws"]:
    return draws.flatten(0, 1).movedim(0, -1).contiguous()


def _quantile(
    ordered: Float64[Tensor, "*quantities n"], level: float
) -> Float64[Tensor, "*quantities"]:
    place = level * (ordered.shape[-1] - 1)
    low, high = ordered[..., math.floor(place)], ordered[..., math.ceil(place)]
    share = place - math.floor(place)
    return (1 - share) * low + share * high


def _normal_scores(
    draws: Float64[Tensor, "chains draws *quantities"],
) -> Float64[Tensor, "chains draws *quantities"]:
    """Return normal quantiles of the ranks; equal values, such as rejected moves, share theirs."""
    together = _together(draws)
    ordered = together.sort(-1).values
    below = torch.searchsorted(ordered, together)
    up_to = torch.searchsorted(ordered, together, right=True)
    ranks = (below + up_to + 1).double() / 2
    scores: Tensor = torch.special.ndtri((ranks - 3 / 8) / (together.shape[-1] + 1 / 4))
    return scores.movedim(-1, 0).reshape(draws.shape)


def _r_hat(draws: Float64[Tensor, "chains draws *quantities"]) -> Float64[Tensor, "*quantities"]:
    length = draws.shape[1]
    within = draws.var(1).mean(0)
    between = draws.mean(1).var(0)
    ratio = ((length - 1) / length * within + between) / within
    return torch.where(within > 0, ratio, math.inf).sqrt()


def _ess(draws: Float64[Tensor, "chains draws *quantities"]) -> Float64[Tensor, "*quantities"]:
    n_chains, length = draws.shape[:2]
    n_draws = n_chains * length
    covariance = _autocovariance(draws).mean(0)  # [lags, *quantities]
    within = covariance[0] * length / (length - 1)
    total = covariance[0] + draws.mean(1).var(0)
    correlation = 1 - (within - covariance) / total
    correlation[0] = 1
    # the last lags rest on too few products
    n_pairs = max((length - 3) // 2, 0) + 1
    first, second = correlation[0 : 2 * n_pairs : 2], correlation[1 : 2 * n_pairs : 2]
    pairs = first + second
    positive = (pairs[: n_pairs - 1] > 0).long().cumprod(0)
    tau = -1 + 2 * (positive * torch.cummin(pairs, 0).values[: n_pairs - 1]).sum(0)
    # the even lag where the sum ends still carries something
    tau = tau + first.gather(0, positive.sum(0, keepdim=True))[0].clamp(min=0)
    # chains of alternating draws are worth more than independent ones, but not without end
    size = n_draws / tau.clamp(min=1 / math.log10(n_draws))
    return torch.where(total > 0, size, 0.0)


def _autocovariance(
    draws: Float64[Tensor, "chains draws *quantities"],
) -> Float64[Tensor, "chains draws *quantities"]:
    length = draws.shape[1]
    centred = draws - draws.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * length, dim=1)
    products: Tensor = torch.fft.irfft(spectrum.abs().square(), n=2 * length, dim=1)
    return products[:, :length] / length
