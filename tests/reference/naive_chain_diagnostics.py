"""Convergence diagnostics of one quantity's chains, by loops over lags as the paper writes them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

Chains = NDArray[np.float64]


def naive_r_hat(chains: Chains) -> float:
    halves = split(chains)
    folded = np.abs(halves - np.median(halves))
    return max(plain_r_hat(normal_scores(x)) for x in (halves, folded))


def naive_bulk_ess(chains: Chains) -> float:
    return plain_ess(normal_scores(split(chains)))


def naive_tail_ess(chains: Chains) -> float:
    return min(
        plain_ess((split(chains) <= np.quantile(chains, level)).astype(float))
        for level in (0.05, 0.95)
    )


def split(chains: Chains) -> Chains:
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def normal_scores(chains: Chains) -> Chains:
    ranks = rankdata(chains, method="average").reshape(chains.shape)
    return norm.ppf((ranks - 3 / 8) / (chains.size + 1 / 4))


def plain_r_hat(chains: Chains) -> float:
    n = chains.shape[1]
    within = np.mean([np.var(chain, ddof=1) for chain in chains])
    between = n * np.var(chains.mean(1), ddof=1)
    return math.sqrt(((n - 1) / n * within + between / n) / within)


def plain_ess(chains: Chains) -> float:
    m, n = chains.shape
    centred = chains - chains.mean(1, keepdims=True)
    within = np.mean([np.var(chain, ddof=1) for chain in chains])
    total = (n - 1) / n * within + np.var(chains.mean(1), ddof=1)

    if total == 0:
        return 0.0

    def rho(lag: int) -> float:
        covariances = [float(x[: n - lag] @ x[lag:]) / n for x in centred]
        return 1.0 if lag == 0 else 1 - (within - float(np.mean(covariances))) / total

    tau, least, lag = -1.0, math.inf, 0
    while lag < n - 4 and rho(lag) + rho(lag + 1) > 0:
        least = min(least, rho(lag) + rho(lag + 1))
        tau += 2 * least
        lag += 2
    tau += max(rho(lag), 0)
    return m * n / max(tau, 1 / math.log10(m * n))
