"""Activations that torch.nn lacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Erf(nn.Module):
    """The error function, element by element: φ(x) = erf(x) = 2/√π ∫₀ˣ exp(−t²) dt.

    Its infinite-width kernels have closed forms (Williams, 1997, Computing with infinite networks).

    Example:
        >>> Erf()(torch.zeros(2))
        tensor([0., 0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return erf(x), of x's shape."""
        return torch.erf(x)
