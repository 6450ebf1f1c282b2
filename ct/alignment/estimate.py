"""What every way of finding the centre of rotation gives back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class CenterEstimate:
    """The detector index that the axis of rotation projects to, and how well it is known.

    Attributes:
        center: detector index, whole or not; for `ParallelBeam.center` or `FanBeam.center`.
        error: standard deviation of `center` in detector bins, from how much parts of the
            measurements disagree (jackknife); infinity where they cannot say.
        method: what it was found from, in words.
        candidates: centres that were tried, in detector bins.
        scores: how inconsistent the measurements are for each candidate; least at `center`.
        notes: what makes the value doubtful, in words; empty where nothing does.
    """

    center: float
    error: float
    method: str
    candidates: Float64[Tensor, " candidates"]
    scores: Float64[Tensor, " candidates"]
    notes: tuple[str, ...] = ()


def jackknife(
    parts: Float64[Tensor, "groups rest"],
    minimiser: Callable[[Float64[Tensor, " rest"]], float],
) -> tuple[float, float]:
    """Minimise a sum of parts, and estimate the error from leaving each part out.

    σ² = (G − 1)/G Σ_g (ĉ_g − mean ĉ)², with ĉ_g the minimiser without part g of G.

    Args:
        parts: what to add up, one row a group of measurements.
        minimiser: from a sum of rows to the parameter.

    Returns:
        The minimiser of the whole sum and its standard deviation.

    Example:
        >>> values = torch.tensor([[1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
        >>> jackknife(values, lambda total: float(total[0]))
        (10.0, 1.936...)
    """
    whole = parts.sum(0)
    best = minimiser(whole)
    without = torch.tensor([minimiser(whole - part) for part in parts], dtype=torch.float64)
    n = len(without)
    spread = float((without - without.mean()).square().sum()) * (n - 1) / n
    return best, math.sqrt(spread)
