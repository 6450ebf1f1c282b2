"""SiLU with dropout, forward and backward, in one pass over a layer's values each, in Triton."""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from ct.inr.counter_masks import FACTORS, SHIFTS, least_kept

_BLOCK = 2048
_ANY = ("first", "threshold")  # but not n: that it is a multiple of 16 makes loads and stores wide
_FACTOR_1, _FACTOR_2 = (tl.constexpr(factor) for factor in FACTORS)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = (tl.constexpr(shift) for shift in SHIFTS)


@triton.jit
@no_type_check
def _scale(keys, at, first, threshold, inverse):
    """Return 0 for units that are lost and `inverse` for the others: `keep_mask`."""
    key_1 = tl.load(keys).to(tl.uint32, bitcast=True)
    key_2 = tl.load(keys + 1).to(tl.uint32, bitcast=True)
    word = (at.to(tl.uint32) + first.to(tl.uint32, bitcast=True)) ^ key_1  # modulo 2³²
    word = (word ^ (word >> _SHIFT_1)) * _FACTOR_1 + key_2
    word = (word ^ (word >> _SHIFT_2)) * _FACTOR_2
    word = word ^ (word >> _SHIFT_3)
    return tl.where(word >= threshold.to(tl.uint32, bitcast=True), inverse, 0.0)


@triton.jit(do_not_specialize=_ANY)
@no_type_check
def activate_kernel(
    values, keys, result, n, first, threshold, inverse,
    WIDTH: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write m · SiLU(v) / (1 − rate) into columns below WIDTH, 1 into the next, 0 into others."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    at = start + tl.arange(0, BLOCK)
    column = ((start % STRIDE).to(tl.int32) + tl.arange(0, BLOCK)) % STRIDE
    v = tl.load(values + at, mask=at < n, other=0.0).to(tl.float32)
    kept = v * tl.sigmoid(v) * _scale(keys, at, first, threshold, inverse)
    kept = tl.where(column < WIDTH, kept, tl.where(column == WIDTH, 1.0, 0.0))
    tl.store(result + at, kept.to(result.dtype.element_ty), mask=at < n)


@triton.jit(do_not_specialize=_ANY)
@no_type_check
def activate_backward_kernel(
    grads, values, keys, result, n, first, threshold, inverse,
    WIDTH: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write g · m · SiLU'(v) / (1 − rate) into columns below WIDTH, 0 into the others."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    at = start + tl.arange(0, BLOCK)
    column = ((start % STRIDE).to(tl.int32) + tl.arange(0, BLOCK)) % STRIDE
    v = tl.load(values + at, mask=at < n, other=0.0).to(tl.float32)
    g = tl.load(grads + at, mask=at < n, other=0.0).to(tl.float32)
    s = tl.sigmoid(v)
    g = g * s * (1 + v * (1 - s)) * _scale(keys, at, first, threshold, inverse)
    g = tl.where(column < WIDTH, g, 0.0)
    tl.store(result + at, g.to(result.dtype.element_ty), mask=at < n)


def activate(values: Tensor, key: Tensor, *, width: int, rate: float, first: int) -> Tensor:
    """Return m · SiLU(v) / (1 − rate), then a column of ones and zeros, from one kernel."""
    result = torch.empty_like(values)
    _launch(activate_kernel, (values, key, result), width, rate, first)
    return result


def activate_backward(
    grads: Tensor, values: Tensor, key: Tensor, *, width: int, rate: float, first: int
) -> Tensor:
    """Return the gradient of `activate` with respect to v, from one kernel."""
    result = torch.empty_like(values)
    _launch(activate_backward_kernel, (grads, values, key, result), width, rate, first)
    return result


def _launch(kernel: Any, tensors: tuple[Tensor, ...], width: int, rate: float, first: int) -> None:
    result = tensors[-1]
    columns = result.shape[1]
    kernel[(triton.cdiv(result.numel(), _BLOCK),)](
        *tensors,
        result.numel(),
        _as_int32(first * columns),
        _as_int32(least_kept(rate)),
        1 / (1 - rate),
        WIDTH=width,
        STRIDE=columns,
        BLOCK=_BLOCK,
    )


def _as_int32(word: int) -> int:
    """Return the number with the same 32 bits."""
    low = word % 2**32
    return low - 2**32 if low >= 2**31 else low
