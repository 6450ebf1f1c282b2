"""A perceptron with a dropout mask for each pixel, with its gradient written out.

Values of a layer stand as [pixel, column] in `stride(width)` columns: those of the units, then
a one, then zeros. So biases are a column of the weights, and their gradient one of the weights'
gradient: all but SiLU and dropout are products of matrices, in the type of the operands, such as
bfloat16, and those that leave the network's layers are summed and kept in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor
from torch.nn import functional

from ct.inr.counter_masks import keep_mask

_MULTIPLE = 16  # of columns: rows start where wide loads may
_READ_OUT_ROWS = 8  # the fewest rows of a matrix that fast products take
_MOST_PARTS = 64  # of a sum over all pixels, which are added up in the end
_PART_NUMBERS = 2**21  # of all parts together: enough to keep a GPU busy


@runtime_checkable
class Elementwise(Protocol):
    """What happens between two products: as plain operations, or as kernels."""

    def activate(
        self, values: Tensor, key: Tensor, *, width: int, rate: float, first: int
    ) -> Tensor:
        """Return m · SiLU(v) / (1 − rate), then a column of ones and zeros."""

    def activate_backward(
        self, grads: Tensor, values: Tensor, key: Tensor, *, width: int, rate: float, first: int
    ) -> Tensor:
        """Return the gradient with respect to v."""


@dataclass(frozen=True, kw_only=True)
class DropoutLayers:
    """How the layers are computed.

    Attributes:
        width: units of each hidden layer.
        rate: the share of the units that a layer loses.
        operands: type of the factors of all products.
        elementwise: what computes SiLU and dropout.
    """

    width: int
    rate: float
    operands: torch.dtype
    elementwise: Elementwise

    def __call__(
        self,
        inputs: Float[Tensor, "padded stride"],
        keys: Int32[Tensor, "hidden words"],
        weights: list[Tensor],
        biases: list[Tensor],
        *,
        first: int = 0,
    ) -> Float[Tensor, " padded"]:
        """Return the outputs, one number a row, without a link.

        Args:
            inputs: from `padded_inputs`.
            keys: of the masks, one for each hidden layer.
            weights: of each layer, [out, in].
            biases: of each layer.
            first: the number of the first row's pixel, which its mask follows.

        Returns:
            The outputs; those of padded rows mean nothing.
        """
        return cast("Tensor", _Layers.apply(self, inputs, keys, first, *weights, *biases))  # type: ignore[no-untyped-call]


def stride(width: int) -> int:
    """Return the columns that hold so many units and a one.

    Example:
        >>> stride(280), stride(726), stride(16)
        (288, 736, 32)
    """
    return -(-(width + 1) // _MULTIPLE) * _MULTIPLE


def padded_inputs(features: Float[Tensor, "n features"], operands: torch.dtype) -> Tensor:
    """Return features with their column of ones, and rows of zeros up to equal parts."""
    n, width = features.shape
    multiple = _MOST_PARTS * _READ_OUT_ROWS
    rows = -(-n // multiple) * multiple
    inputs = torch.zeros(rows, stride(width), dtype=operands, device=features.device)
    inputs[:n, :width] = features
    inputs[:n, width] = 1
    return inputs


class Plain:
    """SiLU and dropout as operations of torch, on any device and in any type."""

    def activate(
        self, values: Tensor, key: Tensor, *, width: int, rate: float, first: int
    ) -> Tensor:
        """Return m · SiLU(v) / (1 − rate), then a column of ones and zeros."""
        result = torch.zeros_like(values)
        result[:, :width] = functional.silu(values[:, :width]) * self._scale(
            values, key, width, rate, first
        )
        result[:, width] = 1
        return result

    def activate_backward(
        self, grads: Tensor, values: Tensor, key: Tensor, *, width: int, rate: float, first: int
    ) -> Tensor:
        """Return the gradient with respect to v."""
        v = values[:, :width]
        s = torch.sigmoid(v)
        result = torch.zeros_like(values)
        scale = self._scale(values, key, width, rate, first)
        result[:, :width] = grads[:, :width] * s * (1 + v * (1 - s)) * scale
        return result

    @staticmethod
    def _scale(values: Tensor, key: Tensor, width: int, rate: float, first: int) -> Tensor:
        counters = unit_counters(first, first + len(values), width, device=values.device)
        return keep_mask(key, counters, rate).to(values.dtype) / (1 - rate)


def unit_counters(start: int, stop: int, width: int, *, device: torch.device) -> Tensor:
    """Return the counter of each unit of the pixels from `start` to `stop`.

    Example:
        >>> unit_counters(1, 3, 2, device=torch.device("cpu")).tolist()
        [[16, 17], [32, 33]]
    """
    rows = torch.arange(start, stop, device=device)[:, None] * stride(width)
    return rows + torch.arange(width, device=device)


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, layers: DropoutLayers, inputs: Tensor, keys: Tensor, first: int, *params: Tensor
    ) -> Tensor:
        packed = _packed(layers, inputs.shape[1], params)
        hidden, saved = inputs, []
        for key, matrix in zip(keys, packed[:-1], strict=True):
            values = hidden @ matrix.T
            saved += [hidden, values]
            hidden = layers.elementwise.activate(
                values, key, width=layers.width, rate=layers.rate, first=first
            )
        ctx.layers, ctx.first, ctx.shapes = layers, first, [p.shape for p in params]
        ctx.save_for_backward(keys, *packed, *saved, hidden)
        return _accurate(hidden, packed[-1].T)[:, 0].contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, (keys, *saved) = ctx.layers, ctx.saved_tensors
        n_layers = len(keys) + 1
        packed, inner = saved[:n_layers], saved[n_layers:]
        grads = inner[0].new_zeros(len(grad), _READ_OUT_ROWS)
        grads[:, 0] = grad
        sums = [_sum_of_products(grads, inner[-1])]
        for index in reversed(range(len(keys))):
            hidden, values = inner[2 * index], inner[2 * index + 1]
            grads = layers.elementwise.activate_backward(
                grads @ packed[index + 1], values, keys[index],
                width=layers.width, rate=layers.rate, first=ctx.first,
            )  # fmt: skip
            sums.append(_sum_of_products(grads, hidden))
        sums.reverse()
        weights, biases = ctx.shapes[:n_layers], ctx.shapes[n_layers:]
        return (
            None, None, None, None,
            *(total[: out[0], : out[1]] for total, out in zip(sums, weights, strict=True)),
            *(
                total[: out[0], shape[1]]
                for total, out, shape in zip(sums, biases, weights, strict=True)
            ),
        )  # fmt: skip


def _packed(layers: DropoutLayers, n_inputs: int, params: tuple[Tensor, ...]) -> list[Tensor]:
    n_layers = len(params) // 2
    rows = [stride(layers.width)] * (n_layers - 1) + [_READ_OUT_ROWS]
    packed, columns = [], n_inputs
    for weight, bias, n_rows in zip(params[:n_layers], params[n_layers:], rows, strict=True):
        matrix = torch.zeros(n_rows, columns, dtype=layers.operands, device=weight.device)
        fan_out, fan_in = weight.shape
        matrix[:fan_out, :fan_in] = weight
        matrix[:fan_out, fan_in] = bias
        packed.append(matrix)
        columns = n_rows
    return packed


def _accurate(a: Tensor, b: Tensor) -> Tensor:
    """Return a b, of half-precision factors in float32."""
    if a.is_cuda and a.dtype == torch.bfloat16:
        return torch.mm(a, b, out_dtype=torch.float32)
    return a @ b


def _sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Return aᵀ b by equal parts: all pixels meet in a few numbers, so one sum would be slow."""
    parts = _MOST_PARTS
    while parts > 1 and parts * a.shape[1] * b.shape[1] > 2 * _PART_NUMBERS:
        parts //= 2
    a, b = a.reshape(parts, -1, a.shape[1]), b.reshape(parts, -1, b.shape[1])
    if a.is_cuda and a.dtype == torch.bfloat16:
        return torch.bmm(a.mT, b, out_dtype=torch.float32).sum(0)
    return torch.bmm(a.mT, b).sum(0)
