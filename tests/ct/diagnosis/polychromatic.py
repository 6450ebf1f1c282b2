"""Line integrals that a detector sees of a beam of three energies: beam hardening."""

from __future__ import annotations

import torch
from torch import Tensor

_SPECTRUM = (
    (0.3, 1.4, 1.6),
    (0.4, 1.0, 1.0),
    (0.3, 0.8, 0.7),
)  # share, attenuation of two materials


def hardened(soft: Tensor, dense: Tensor) -> Tensor:
    """−log Σ_E w_E exp(−a_E p_soft − b_E p_dense)."""
    seen = sum(
        (w * torch.exp(-a * soft - b * dense) for w, a, b in _SPECTRUM), torch.zeros_like(soft)
    )
    return -torch.log(seen)
