"""Images and noise that several tests of error bars draw."""

from __future__ import annotations

import torch


def normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def disc(n: int) -> torch.Tensor:
    x = torch.arange(n) - n / 2
    return (x**2 + x[:, None] ** 2 < (0.35 * n) ** 2).double()
