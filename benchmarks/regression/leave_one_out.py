"""The noise of rows that a process has not seen, by leaving each training row out in turn."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.gp.exact import GaussianProcess

SMALLEST, LARGEST, STEPS = 1e-3, 3.0, 400  # of σ, in the targets' units; steps are 2 % wide


def held_out_noise(process: GaussianProcess) -> float:
    """Return the σ under which each row is likeliest, given all others.

    With A = K + s²I and α = A⁻¹y, row i less its prediction from the others is α_i/[A⁻¹]_ii, and
    the variance of the function there is 1/[A⁻¹]_ii − s² (Rasmussen and Williams, 2006, 5.12). s
    says how closely the function follows the rows that it sees; σ, which maximises
    Σ log N(residual_i | 0, variance_i + σ²), what the next row adds to the function.

    Args:
        process: that has seen all rows, with one output.

    Returns:
        σ, the best of 400 values between 0.001 and 3.
    """
    precision = torch.cholesky_inverse(process.factor).diagonal()
    residual = process.weights.squeeze(1) / precision
    variance = (1 / precision - process.noise_std**2).clamp(min=0.0)
    return _likeliest(residual, variance)


def _likeliest(residual: Float[Tensor, " n"], variance: Float[Tensor, " n"]) -> float:
    tried = torch.logspace(0, 1, STEPS, base=LARGEST / SMALLEST).to(residual) * SMALLEST
    total = variance.unsqueeze(1) + tried**2
    nll = (residual.square().unsqueeze(1) / total + total.log()).sum(0)
    return float(tried[nll.argmin()])
