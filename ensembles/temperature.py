"""One temperature for all classes, fitted to rows that the members have not seen.

Guo et al., 2017, arXiv 1706.04599; here for the mean of the members' probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bayesnn.seeds import seeded_generator

PLACE = (0, 3)  # of its random stream; members have places of one number
PART = 0.2  # of the rows of each class
FEWEST_ROWS = 10  # of all classes together, below which a fit says little
MOST_ROWS = 5000  # beyond which they make no difference
LOWEST, HIGHEST = 0.02, 50.0


def held_out_rows(codes: Int[Tensor, " n"], *, seed: int) -> Bool[Tensor, " n"] | None:
    """Return which rows to hold out: a fifth of each class, drawn; None where that is too few.

    Args:
        codes: class of each row, from 0.
        seed: of the draw.

    Returns:
        A mask, on the CPU; classes of fewer than 5 rows keep them all.
    """
    codes = codes.cpu()
    part = min(PART, MOST_ROWS / len(codes))
    order = torch.randperm(len(codes), generator=seeded_generator(seed, *PLACE))
    held_out = torch.zeros(len(codes), dtype=torch.bool)
    for code in range(int(codes.max()) + 1):
        rows = order[codes[order] == code]
        held_out[rows[: math.floor(part * len(rows))]] = True
    return held_out if int(held_out.sum()) >= FEWEST_ROWS else None


def fit_temperature(
    scores: Float[Tensor, "m n c"],
    one_hot: Float[Tensor, "n c"],
    *,
    row_weight: Float[Tensor, " n"] | None = None,
) -> float:
    """Return T that minimises −Σ_i w_i log p_i + ½ (log T)², p = mean_m softmax(f̃_m/T) at y_i.

    The second term, a standard normal prior of log T, counts as little as a row or two; without it
    rows that are all classified rightly would ask for T = 0.

    Args:
        scores: f̃ of each member at rows that it has not seen.
        one_hot: classes of these rows, as columns of 0 and 1.
        row_weight: w, used with mean 1; None for 1.

    Returns:
        T, between 0.02 and 50.
    """
    weight = one_hot.new_ones(len(one_hot)) if row_weight is None else row_weight
    weight = weight / weight.mean()

    def cost(log_t: float) -> float:
        log_p = torch.log_softmax(scores / math.exp(log_t), dim=-1)
        mean = ((log_p * one_hot).sum(-1)).logsumexp(0) - math.log(len(scores))
        return 0.5 * log_t**2 - float((weight * mean).double().sum())

    return math.exp(_least(cost, math.log(LOWEST), math.log(HIGHEST)))


def _least(cost: Callable[[float], float], low: float, high: float) -> float:
    """Return where the cost is least: on a grid, then on finer ones about its best."""
    best = low
    for _ in range(4):
        grid = torch.linspace(low, high, 17, dtype=torch.float64).tolist()
        costs = [cost(value) for value in grid]
        i = costs.index(min(costs))
        low, best, high = grid[max(i - 1, 0)], grid[i], grid[min(i + 1, 16)]
    return best
