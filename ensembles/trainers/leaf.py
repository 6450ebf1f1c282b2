"""One trained tensor of all members, with what its updates need, as it lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Order = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A trained tensor; everything but `value` is contiguous in the memory order of gradients.

    Autograd hands out the gradients of some layers transposed. Updates that read all their
    operands in one order run at the speed of the memory; mixed orders cost several times that.

    Attributes:
        value: what the network sees, in its own shape; shares its memory with `dense`.
        dense: the same numbers.
        slots: what the rule keeps from step to step, such as moments.
        center: c of the regulariser; None where there is none.
        decay: the regulariser's gradient is decay·(θ − c).
        scale: the prior's standard deviation, the unit of steps.
        order: dimensions of `value` in `dense`.
    """

    value: Tensor
    dense: Tensor
    slots: tuple[Tensor, ...]
    center: Tensor | None
    decay: float
    scale: float
    order: Order

    def pieces(self, size: int) -> Iterator[Leaf]:
        """Give leaves of `size` numbers each that share this one's memory.

        Yields:
            A flat part; the last may be smaller.
        """
        center = None if self.center is None else self.center.view(-1)
        flat, slots = self.dense.view(-1), [slot.view(-1) for slot in self.slots]
        for first in range(0, flat.numel(), size):
            part = slice(first, first + size)
            yield Leaf(
                value=flat[part],
                dense=flat[part],
                slots=tuple(slot[part] for slot in slots),
                center=None if center is None else center[part],
                decay=self.decay,
                scale=self.scale,
                order=(0,),
            )

    def dense_gradient(self, gradient: Tensor) -> Tensor:
        """Return the gradient in memory order; a copy only where it lies in another."""
        return gradient.permute(self.order).contiguous()

    def shaped(self, dense: Tensor) -> Tensor:
        """Return a slot in the shape of `value`."""
        return dense.permute(_inverse(self.order))


def new_leaf(
    start: Tensor,
    gradient: Tensor,
    *,
    n_slots: int,
    center: Tensor | None,
    decay: float,
    scale: float,
) -> Leaf:
    """Return the leaf of a copy of `start`, laid out like a gradient of it."""
    order = memory_order(gradient)
    dense = start.detach().permute(order).clone(memory_format=torch.contiguous_format)
    return Leaf(
        value=dense.permute(_inverse(order)).requires_grad_(),
        dense=dense,
        slots=tuple(torch.zeros_like(dense) for _ in range(n_slots)),
        center=None if center is None else center.detach().permute(order).contiguous(),
        decay=0.0 if center is None else decay,
        scale=scale,
        order=order,
    )


def memory_order(tensor: Tensor) -> Order:
    """Return the dimensions from the largest stride to the smallest, members first."""
    rest = sorted(range(1, tensor.ndim), key=tensor.stride, reverse=True)
    return (0, *rest)


def _inverse(order: Order) -> Order:
    return tuple(order.index(dim) for dim in range(len(order)))
