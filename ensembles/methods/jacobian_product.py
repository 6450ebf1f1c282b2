"""J(x, θ)·v for any network, without forming a Jacobian."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from ensembles.methods.protocol import Params


def jacobian_product(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    """Return J(x, θ)·v [n, outputs] of one member, for θ = `at` and v = `direction`.

    One forward-mode pass. Where an operation has no forward-mode derivative, the pass is made with
    attention by plain products and buffers that may be written to. Where that does not help, J·v
    is the derivative in u of Jᵀ·u, which is linear in u: two reverse passes and the same numbers.
    Operations that have one derivative only go row by row, which is slow. The way that works is
    remembered for each network.

    Raises:
        RuntimeError: the network has no derivative, or cannot be called on x.
    """
    known = _KNOWN.get(network, 0)
    for number in range(known, len(_WAYS) - 1):
        try:
            product = _WAYS[number](network, at, direction, x)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            continue
        if number > known:
            _KNOWN[network] = number
        return product
    product = _WAYS[-1](network, at, direction, x)
    _KNOWN[network] = len(_WAYS) - 1
    return product


def _forward(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    def values(params: Params) -> Tensor:
        result: Tensor = functional_call(network, params, (x,))
        return result

    product: Tensor = jvp(values, (at,), (direction,))[1]
    return product


def _forward_plainly(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        product: Tensor = jvp(partial(_with_own_buffers, network, x=x), (at,), (direction,))[1]
    return product


def _twice_in_reverse(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        run = partial(_with_own_buffers, network, x=x)
        values, transposed = vjp(run, at)[:2]
        product: Tensor = vjp(transposed, torch.zeros_like(values))[1]((direction,))[0]
    return product


def _with_own_buffers(network: nn.Module, params: Params, x: Tensor) -> Tensor:
    """Return f(x, θ); what the network writes into its buffers is lost."""
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    result: Tensor = functional_call(network, buffers | params, (x,))
    return result


def _twice_by_autograd(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    # for functions of torch.autograd that torch.func does not know
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        leaves = {name: value.detach().requires_grad_() for name, value in at.items()}
        values = _with_own_buffers(network, leaves, x)
        u = torch.zeros_like(values, requires_grad=True)
        pulled = torch.autograd.grad(
            values, list(leaves.values()), u, create_graph=True, materialize_grads=True
        )
        onto = [direction[name] for name in leaves]
        (product,) = torch.autograd.grad(pulled, u, onto, create_graph=True)
    return product if torch.is_grad_enabled() else product.detach()


def _row_by_row(network: nn.Module, at: Params, direction: Params, x: Tensor) -> Tensor:
    # for operations with a first derivative only: one reverse pass for each number
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        leaves = {name: value.detach().requires_grad_() for name, value in at.items()}
        values = _with_own_buffers(network, leaves, x)
        numbers = values.flatten().unbind()
    each = []
    for value in numbers:
        row = torch.autograd.grad(
            value, list(leaves.values()), retain_graph=True, materialize_grads=True
        )
        parts = zip(row, (direction[name] for name in leaves), strict=True)
        each.append(torch.stack([(part * other).sum() for part, other in parts]).sum())
    return torch.stack(each).view_as(values)


_WAYS = (_forward, _forward_plainly, _twice_in_reverse, _twice_by_autograd, _row_by_row)
_KNOWN: MutableMapping[nn.Module, int] = WeakKeyDictionary()
