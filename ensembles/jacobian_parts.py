"""Parts of a Jacobian J at a block of points: what one layer adds, or parameters taken one by one.

A linear layer that maps inputs a_p to outputs at positions p (one for a dense layer, the pixels of
a convolution, the tokens of a sequence), with output gradients g_p, has J = Σ_p g_p ⊗ a_p for its
weight and Σ_p g_p for its bias. So JΛ⁻¹Jᵀ of a dense layer is (gᵀg')·(α²·aᵀa'/λ + β²/λ'), and J
is never formed. Indices: m members, a points, k outputs, p positions, o and f the layer's sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ensembles.methods.protocol import Params

ROWS_BUDGET = 2**26  # bytes of one layer's J at a time, where a kernel needs it

Self = TypeVar("Self", bound="Part")


@runtime_checkable
class Part(Protocol):
    """The columns of J that belong to some of the parameters, for m members at some points."""

    def kernel(self: Self, other: Self) -> Tensor:
        """Return J Λ⁻¹ J'ᵀ with the same part at other points, [m, k·a, k·a']."""
        ...

    def output(self: Self, j: int) -> Self:
        """Return what belongs to one output, which is the only one there."""
        ...

    def times(self, direction: Params) -> Tensor:
        """Return J·v, [m, a, k]."""
        ...

    def add_preconditioned_transpose(self, params: Params, cotangent: Tensor) -> None:
        """Add Λ⁻¹Jᵀ·u to parameters, in place, for u [m, a, k]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """One trainable tensor of a layer.

    Attributes:
        name: in the network.
        scale: α or β, by which the layer multiplies it.
        precision: Λ, of the tensor's shape.
        uniform: the precision if it is one number, else None.
    """

    name: str
    scale: float
    precision: Tensor
    uniform: float | None

    @property
    def prior_scale(self) -> float:
        """α/√λ, where λ is one number."""
        assert self.uniform is not None
        return self.scale / math.sqrt(self.uniform)

    def divided(self, value: Tensor) -> Tensor:
        """Return the value times α, and over λ where it is one number."""
        factor = self.scale if self.uniform is None else self.scale / self.uniform
        return value if factor == 1 else value * factor

    def divided_by_each(self, value: Tensor) -> Tensor:
        """Return the value over λ where λ is not one number."""
        return value if self.uniform is not None else value.div_(self.precision)


@dataclass(frozen=True, kw_only=True)
class LayerPart:
    """One linear layer y_p = α·W a_p + β·b.

    Attributes:
        inputs: a; members that share them may be expanded.
        gradients: g.
        weight: W, [o, ...] with f entries in each row; None where it is not trained.
        bias: b; None where there is none or it is not trained.
    """

    inputs: Float[Tensor, "m a p f"]
    gradients: Float[Tensor, "m k a p o"]
    weight: Trainable | None
    bias: Trainable | None

    def kernel(self, other: LayerPart) -> Float[Tensor, "m ka kb"]:
        """Return J Λ⁻¹ J'ᵀ."""
        trained = [one for one in (self.weight, self.bias) if one is not None]
        if self.inputs.shape[2] == 1 and all(one.uniform is not None for one in trained):
            return self._dense_kernel(other)
        total = self._rows_kernel(other) if self.weight is not None else None
        if self.bias is not None:
            mine, its = (one._bias_rows() for one in (self, other))
            precision = self.bias.precision
            added = (mine * (self.bias.scale**2 / precision)) @ its.mT
            total = added if total is None else total.add_(added)
        assert total is not None
        return total

    def output(self, j: int) -> LayerPart:
        """Return what belongs to one output."""
        return replace(self, gradients=self.gradients[:, j : j + 1])

    def _dense_kernel(self, other: LayerPart) -> Tensor:
        k = self.gradients.shape[1]
        mine, its = self.inputs.squeeze(2), other.inputs.squeeze(2)
        outer = mine.new_zeros(())
        if self.weight is not None:
            outer = self.weight.prior_scale**2 * (mine @ its.mT)
        if self.bias is not None:
            outer = outer + self.bias.prior_scale**2
        product = (
            self.gradients.flatten(3).flatten(1, 2) @ other.gradients.flatten(3).flatten(1, 2).mT
        )
        if k > 1 and outer.ndim > 0:
            outer = outer.repeat(1, k, k)
        return product.mul_(outer)

    def _rows_kernel(self, other: LayerPart) -> Tensor:
        """Return the weight's part by forming J, some rows of W at a time."""
        assert self.weight is not None
        m, k, a, _, n_rows = self.gradients.shape
        precision = self.weight.precision.reshape(n_rows, -1)
        row = m * k * max(a, other.inputs.shape[1]) * precision.shape[1]
        size = max(1, ROWS_BUDGET // (row * self.inputs.element_size()))
        total = self.inputs.new_zeros(m, k * a, k * other.inputs.shape[1])
        for first in range(0, n_rows, size):
            some = slice(first, first + size)
            mine = self._weight_rows(some)
            its = mine if other is self else other._weight_rows(some)
            mine = mine * (self.weight.scale**2 / precision[some])
            total.baddbmm_(mine.flatten(2), its.flatten(2).mT)
        return total

    def _weight_rows(self, some: slice) -> Tensor:
        rows = torch.einsum("mkapo,mapf->mkaof", self.gradients[..., some], self.inputs)
        return rows.flatten(1, 2)

    def _bias_rows(self) -> Tensor:
        return self.gradients.sum(3).flatten(1, 2)

    def times(self, direction: Params) -> Float[Tensor, "m a k"]:
        """Return J·v."""
        m, _, a, p, o = self.gradients.shape
        change = self.gradients.new_zeros(m, 1, o)
        if self.weight is not None:
            value = direction[self.weight.name].reshape(m, o, -1)
            change = self.weight.scale * (self.inputs.flatten(1, 2) @ value.mT)
        if self.bias is not None:
            change = change + self.bias.scale * direction[self.bias.name].unsqueeze(1)
        change = change.expand(m, a * p, o).reshape(m, a, p * o)
        return torch.einsum("mkaq,maq->mak", self.gradients.flatten(3), change)

    def add_preconditioned_transpose(
        self, params: Params, cotangent: Float[Tensor, "m a k"]
    ) -> None:
        """Add Λ⁻¹Jᵀ·u to parameters, in place."""
        gradient = torch.einsum("mkapo,mak->mapo", self.gradients, cotangent).flatten(1, 2)
        if self.weight is not None:
            total = params[self.weight.name]
            # scaled before the product, which is the larger
            left, right = self.weight.divided(gradient).mT, self.inputs.flatten(1, 2)
            if self.weight.uniform is not None and total.is_contiguous():
                total.view(len(total), left.shape[1], -1).baddbmm_(left, right)
            else:
                total += self.weight.divided_by_each((left @ right).view_as(total))
        if self.bias is not None:
            pulled = self.bias.divided(gradient).sum(1)
            params[self.bias.name] += self.bias.divided_by_each(pulled)


@dataclass(frozen=True, kw_only=True)
class RowsPart:
    """J itself for parameters of any kind, by name: [m, a, k, *shape]."""

    rows: Params
    precision: Params

    def kernel(self, other: RowsPart) -> Float[Tensor, "m ka kb"]:
        """Return J Λ⁻¹ J'ᵀ."""
        total: Tensor | None = None
        for name, rows in self.rows.items():
            mine, its = (
                _points_fastest(rows / self.precision[name]),
                _points_fastest(other.rows[name]),
            )
            total = mine @ its.mT if total is None else torch.baddbmm(total, mine, its.mT)
        assert total is not None
        return total

    def output(self, j: int) -> RowsPart:
        """Return what belongs to one output."""
        return replace(self, rows={name: rows[:, :, j : j + 1] for name, rows in self.rows.items()})

    def times(self, direction: Params) -> Float[Tensor, "m a k"]:
        """Return J·v."""
        parts = [
            torch.einsum("makp,mp->mak", rows.reshape(*rows.shape[:3], -1), _flat(direction[name]))
            for name, rows in self.rows.items()
        ]
        return torch.stack(parts).sum(0)

    def add_preconditioned_transpose(
        self, params: Params, cotangent: Float[Tensor, "m a k"]
    ) -> None:
        """Add Λ⁻¹Jᵀ·u to parameters, in place."""
        for name, rows in self.rows.items():
            pulled = torch.einsum("mak...,mak->m...", rows, cotangent)
            params[name] += pulled / self.precision[name]


def uniform(precision: Tensor) -> float | None:
    """Return the number that all entries are; None if they differ."""
    first = precision.flatten()[0]
    return float(first) if bool((precision == first).all()) else None


def _flat(value: Tensor) -> Tensor:
    return value.reshape(len(value), -1)


def _points_fastest(rows: Tensor) -> Tensor:
    m, a, k = rows.shape[:3]
    return rows.reshape(m, a, k, -1).transpose(1, 2).reshape(m, k * a, -1)
