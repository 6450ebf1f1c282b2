"""What turns a network's output, any real number, into an image's value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Link:
    """A function of one variable and its inverse, in units in which the image's range is [0, 1].

    Attributes:
        name: as the result's metadata calls it.
        function: applied value by value.
        inverse: of one number from the image's range, (0, 1); the network starts from there.

    Example:
        >>> round(float(sigmoid.function(torch.tensor(sigmoid.inverse(0.3)))), 6)
        0.3
    """

    name: str
    function: Callable[[Tensor], Tensor]
    inverse: Callable[[float], float]


identity = Link(name="identity", function=lambda value: value, inverse=lambda value: value)
"""No bounds."""

sigmoid = Link(
    name="sigmoid",
    function=torch.sigmoid,
    inverse=lambda value: math.log(value / (1 - value)),
)
"""Bounded below and above: the image cannot leave its estimated range."""

softplus = Link(
    name="softplus",
    function=torch.nn.functional.softplus,
    inverse=lambda value: math.log(math.expm1(value)),
)
"""Bounded below."""
