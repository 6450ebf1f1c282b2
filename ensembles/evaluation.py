"""Values of many members at many points, in chunks that fit a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import vmap

from ensembles.methods.protocol import Method, Params, Shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY_BUDGET = 2**26  # bytes of activations at a time; what fits the cache is faster too


def point_chunks(network: nn.Module, params: Params, n_points: int) -> Iterator[slice]:
    """Yield slices of points whose activations, over all members, fit the memory budget."""
    one = next(iter(params.values()))
    widest = max(max(value.shape[1:], default=1) for value in params.values())
    widest = max([widest, *(max(value.shape, default=1) for value in network.buffers())])
    # value and tangent of a layer, before and after its activation
    bytes_per_point = 4 * one.shape[0] * widest * one.element_size()
    size = max(1, MEMORY_BUDGET // bytes_per_point)
    for first in range(0, n_points, size):
        yield slice(first, min(first + size, n_points))


def shift_values(method: Method, network: nn.Module, shift: Shift, x: Tensor) -> Tensor | None:
    """Return δ(x) of all members [m, n, k], or None where the method has no fixed function."""
    if not _has_shift(method, network, shift, x):
        return None
    one = next(iter(shift.values()))
    chunks = point_chunks(network, one, x.shape[0])
    parts = [_shift(method, network, shift, x[chunk]) for chunk in chunks]
    return torch.cat(parts, dim=1)


def member_values(
    method: Method, network: nn.Module, params: Params, shift: Shift, x: Tensor
) -> Tensor:
    """Return f̃(x) = value + δ of all members, [m, n, k]; x should be one chunk of points."""
    values = over_members(lambda p, s: method.value(network, p, s, x), params, shift)
    if _has_shift(method, network, shift, x):
        values = values + _shift(method, network, shift, x)
    return values


def over_members(
    function: Callable[[Params, Shift], Tensor], params: Params, shift: Shift
) -> Tensor:
    """Return a function of one member's parameters for all members, along dimension 0."""
    if not shift:
        result: Tensor = vmap(lambda p: function(p, {}))(params)
    else:
        result = vmap(function)(params, shift)
    return result


def _shift(method: Method, network: nn.Module, shift: Shift, x: Tensor) -> Tensor:
    def one(member: Shift) -> Tensor:
        result = method.shift(network, member, x)
        assert result is not None
        return result

    result: Tensor = vmap(one)(shift)
    return result


def _has_shift(method: Method, network: nn.Module, shift: Shift, x: Tensor) -> bool:
    if not shift:
        return False
    first = {name: {k: v[0] for k, v in params.items()} for name, params in shift.items()}
    return method.shift(network, first, x[:1]) is not None
