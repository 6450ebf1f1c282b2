"""What turns a network's output, any real number, into an image's value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Link:
    """A function of one variable and its inverse, in units in which the image's range is [0, 1].

    Attributes:
        name: as the result's metadata calls it.
        function: applied value by value.
        inverse: of one number from the image's range, (0, 1); the network starts from there.
        from_zero: whether 0 stands for the image's zero, which is air where values are
            attenuation; else for the lowest value that a filtered back-projection shows.

    Example:
        >>> round(float(sigmoid.function(torch.tensor(sigmoid.inverse(0.3)))), 6)
        0.3
    """

    name: str
    function: Callable[[Tensor], Tensor]
    inverse: Callable[[float], float]
    from_zero: bool = False


class _Clip(torch.autograd.Function):
    """y = max(v, 0), with the gradient of a descent that is projected onto v ≥ 0."""

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return torch.where((values > 0) | (grad < 0), grad, 0)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return torch.where(values > 0, tangent, 0)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], values: Tensor) -> tuple[Tensor, int]:  # noqa: ARG004
        return _clip(values), in_dims[0]


def _clip(values: Tensor) -> Tensor:
    return cast("Tensor", _Clip.apply(values))  # type: ignore[no-untyped-call]


identity = Link(name="identity", function=lambda value: value, inverse=lambda value: value)
"""No bounds."""

sigmoid = Link(
    name="sigmoid",
    function=torch.sigmoid,
    inverse=lambda value: math.log(value / (1 - value)),
)
"""Bounded below and above: the image cannot leave its estimated range, nor reach its ends."""

softplus = Link(
    name="softplus",
    function=torch.nn.functional.softplus,
    inverse=lambda value: math.log(math.expm1(value)),
)
"""Bounded below, by a value that it cannot reach."""

clipped = Link(name="clipped", function=_clip, inverse=lambda value: value, from_zero=True)
"""max(v, 0): exactly the image's zero where there is air, and never below. For attenuations.

Below zero a plain maximum has no gradient, and what has fallen there stays. Here the gradient
passes wherever following it would raise the value, and above zero always: that of a descent
projected onto the values that are allowed. It vanishes only where the loss wants less than zero,
which is where an optimum at the bound lies. Derivatives in forward mode are those of the maximum.
"""
