"""Updates in one pass over memory, in Triton: every operand is read once and written once.

The rules are those of `ensembles.trainers.updates`, which holds the reference in torch. A step with
a pull toward c reads one operand more than one without.
"""

from __future__ import annotations

from typing import Any, no_type_check

import triton
import triton.language as tl
from torch import Tensor

from ensembles.trainers.leaf import Leaf
from ensembles.trainers.updates import AdamRule, SGDRule

BLOCK = 1024


@triton.jit
@no_type_check
def _adam_kernel(
    theta, gradient, mean, square, center, rates, n,
    beta1, rest1, beta2, rest2, eps, decay, scale,
    PULL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    rate = tl.load(rates)
    unbias_mean = tl.load(rates + 1)
    unbias_root = tl.load(rates + 2)
    p = tl.load(theta + at, mask=inside)
    g = tl.load(gradient + at, mask=inside)
    m = tl.load(mean + at, mask=inside)
    v = tl.load(square + at, mask=inside)
    if PULL:
        g += decay * (p - tl.load(center + at, mask=inside))
    m = beta1 * m + rest1 * g
    v = beta2 * v + rest2 * g * g
    root = tl.sqrt(v) / unbias_root + eps
    p -= m / root * (rate * scale / unbias_mean)
    tl.store(theta + at, p, mask=inside)
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)


@triton.jit
@no_type_check
def _sgd_kernel(
    theta, gradient, moving, center, rates, n,
    momentum, decay, scale_squared,
    PULL: tl.constexpr, MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    rate = tl.load(rates)
    p = tl.load(theta + at, mask=inside)
    g = tl.load(gradient + at, mask=inside)
    if PULL:
        g += decay * (p - tl.load(center + at, mask=inside))
    if MOMENTUM:
        b = momentum * tl.load(moving + at, mask=inside) + g
        tl.store(moving + at, b, mask=inside)
        if NESTEROV:
            g += momentum * b
        else:
            g = b
    tl.store(theta + at, p - g * (rate * scale_squared), mask=inside)


def adam(rule: AdamRule, leaf: Leaf, gradient: Tensor, rates: Tensor) -> None:
    """Take a step of Adam; see `ensembles.trainers.updates.adam_reference`."""
    n, pull = leaf.dense.numel(), leaf.center is not None
    _launch(_adam_kernel, n)(
        leaf.dense, gradient, *leaf.slots, leaf.center if pull else leaf.dense, rates, n,
        # 1 − β in double precision: the kernel's own would be 5e-5 off for β₂
        rule.beta1, 1 - rule.beta1, rule.beta2, 1 - rule.beta2, rule.eps / leaf.scale,
        leaf.decay, leaf.scale,
        PULL=pull, BLOCK=BLOCK,
    )  # fmt: skip


def sgd(rule: SGDRule, leaf: Leaf, gradient: Tensor, rates: Tensor) -> None:
    """Take a step of gradient descent; see `ensembles.trainers.updates.sgd_reference`."""
    n, pull, moving = leaf.dense.numel(), leaf.center is not None, rule.momentum > 0
    _launch(_sgd_kernel, n)(
        leaf.dense, gradient, leaf.slots[0] if moving else leaf.dense,
        leaf.center if pull else leaf.dense, rates, n,
        rule.momentum, leaf.decay, leaf.scale**2,
        PULL=pull, MOMENTUM=moving, NESTEROV=rule.nesterov, BLOCK=BLOCK,
    )  # fmt: skip


def _launch(kernel: Any, n: int) -> Any:
    return kernel[(triton.cdiv(n, BLOCK),)]
