"""Windows on the ramp filter: how much of the high frequencies, and of the noise, is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Window: TypeAlias = Callable[[Tensor], Tensor]
"""Factor on the ramp filter, of the frequency as a fraction of Nyquist's, from 0 to 1."""


def ramp(frequency: Tensor) -> Tensor:
    """Return the window that leaves the ramp filter as it is: sharp, and noisy.

    Example:
        >>> ramp(torch.tensor([0.0, 1.0]))
        tensor([1., 1.])
    """
    return torch.ones_like(frequency)


def shepp_logan(frequency: Tensor) -> Tensor:
    """Return the Shepp–Logan window sin(πf/2)/(πf/2): nearly as sharp as `ramp`.

    Example:
        >>> shepp_logan(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.6366])
    """
    return torch.sinc(frequency / 2)


def cosine(frequency: Tensor) -> Tensor:
    """Return the cosine window cos(πf/2): between `shepp_logan` and `hann`.

    Example:
        >>> cosine(torch.tensor([0.0, 0.5]))
        tensor([1.0000, 0.7071])
    """
    return torch.cos(math.pi * frequency / 2)


def hann(frequency: Tensor) -> Tensor:
    """Return the Hann window ½ (1 + cos πf): smooth, with half the resolution of `ramp`.

    Example:
        >>> hann(torch.tensor([0.0, 1.0]))
        tensor([1., 0.])
    """
    return (1 + torch.cos(math.pi * frequency)) / 2


WINDOWS: dict[str, Window] = {
    "hann": hann,
    "ramp": ramp,
    "shepp-logan": shepp_logan,
    "cosine": cosine,
}
"""The windows by the names that configuration files and results use."""


def window_name(window: Window) -> str:
    """Return a window's name as `WINDOWS` spells it, or what Python calls another function.

    Example:
        >>> window_name(shepp_logan)
        'shepp-logan'
    """
    for name, known in WINDOWS.items():
        if known is window:
            return name
    return getattr(window, "__name__", repr(window))
