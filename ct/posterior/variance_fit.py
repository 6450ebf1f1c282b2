"""Variances as sums of known parts, fitted to squares of what they are the variances of."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

_ITERATIONS = 300
_LEAST_EXCESS = 1e-3  # of the mean square, to begin with


def fit_variance(
    squares: Float64[Tensor, " points"],
    parts: Float64[Tensor, "points parts"],
    known: Float64[Tensor, " points"],
) -> Float64[Tensor, " parts"]:
    """Return the c ≥ 0 under which Gaussian values of variance v = parts·c + known are likeliest.

    Multiplicative steps c ← c·√(Σ w p q / Σ w p v) with w = 1/v² keep c at or above zero and never
    raise Σ log v + squares/v.

    Args:
        squares: q, squared values.
        parts: p, at least 0.
        known: the part of the variance that is known, such as the noise's; at least 0.

    Returns:
        One factor a part; 0 for parts that are zero everywhere.

    Source:
        D. R. Hunter, K. Lange, A tutorial on MM algorithms, The American Statistician 58, 2004;
        the same steps factorise spectra under the Itakura-Saito divergence: C. Févotte, N. Bertin,
        J.-L. Durrieu, Neural Computation 21, 2009.

    Example:
        >>> ones = torch.ones(3, 1, dtype=torch.float64)
        >>> found = fit_variance(torch.tensor([3.0, 5.0, 4.0]).double(), ones, ones[:, 0])
        >>> round(float(found), 4)
        3.0
    """
    size = parts.mean(0)
    used = size > 0
    unit = parts / torch.where(used, size, 1.0)
    # where the parts and what is known are all zero, nothing can be learnt
    tiny = 1e-9 * squares.mean().clamp(min=torch.finfo(squares.dtype).tiny)
    offset = known + tiny
    excess = (squares - known).mean().clamp(min=_LEAST_EXCESS * float(squares.mean()))
    c = torch.where(used, excess / used.sum().clamp(min=1), 0.0)
    for _ in range(_ITERATIONS):
        variance = unit @ c + offset
        weight = variance.square().reciprocal()
        up = unit.T @ (weight * squares)
        down = unit.T @ (weight * variance)
        c = c * torch.where(used, (up / down.clamp(min=1e-300)).sqrt(), 0.0)
    return torch.where(used, c / torch.where(used, size, 1.0), 0.0)
