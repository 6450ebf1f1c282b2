"""One function of one member, for all members: by vmap, or in a loop where vmap cannot take it."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, MutableMapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ensembles.methods.protocol import Params, Shift

OneMember = Callable[[Params, Shift], Tensor]

_log = logging.getLogger(__name__)


def over_members(
    function: OneMember, params: Params, shift: Shift, *, network: nn.Module | None = None
) -> Tensor:
    """Return a function of one member's parameters for all members, along dimension 0.

    `torch.func.vmap` runs all members at once. What it cannot take (control flow that depends on
    values, `.item()`, writing into buffers, operations without a batching rule) runs member by
    member, with the same numbers; the logger of this module says so once, at level INFO.

    Args:
        function: of one member's parameters and parameter sets of the fixed function.
        params: stacked parameters.
        shift: stacked parameter sets; may be empty.
        network: what the function evaluates. The way that works for it and this function is
            remembered, so that what has failed is not tried at every call.

    Returns:
        The values, stacked.
    """
    if torch.compiler.is_compiling():  # the way has been found before
        return _at_once(function, params, shift)
    ways = {} if network is None else _KNOWN.setdefault(network, {})
    key = getattr(inspect.unwrap(function), "__code__", function)
    if key in ways:
        try:
            return _WAYS[ways[key]](function, params, shift)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError):  # what runs for one member may not for more
            if ways[key] == len(_WAYS) - 1:
                raise
    ways[key], values = _first_way(function, params, shift)
    if ways[key] == len(_WAYS) - 1:
        _log.info(
            "torch.func.vmap cannot take %s: its members run one after another",
            "this function" if network is None else type(network).__name__,
        )
    return values


def runs_side_by_side(network: nn.Module) -> bool:
    """Return whether all functions of this network, so far, could run all members at once.

    Example:
        >>> runs_side_by_side(nn.Linear(1, 1))
        True
    """
    return len(_WAYS) - 1 not in _KNOWN.get(network, {}).values()


def _first_way(function: OneMember, params: Params, shift: Shift) -> tuple[int, Tensor]:
    for number, way in enumerate(_WAYS[:-1]):
        try:
            with warnings.catch_warnings():
                # torch falls back to a loop in places: a loop over members costs no more
                warnings.filterwarnings("error", message="There is a performance drop")
                return number, way(function, params, shift)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, UserWarning):
            continue
    return len(_WAYS) - 1, _one_by_one(function, params, shift)


def _at_once(function: OneMember, params: Params, shift: Shift) -> Tensor:
    if not shift:
        result: Tensor = vmap(lambda p: function(p, {}))(params)
    else:
        result = vmap(function)(params, shift)
    return result


def _at_once_with_plain_attention(function: OneMember, params: Params, shift: Shift) -> Tensor:
    # fused attention kernels have no batching rule
    with sdpa_kernel(SDPBackend.MATH):
        return _at_once(function, params, shift)


def _one_by_one(function: OneMember, params: Params, shift: Shift) -> Tensor:
    def member(i: int, values: Params) -> Params:
        return {name: value[i] for name, value in values.items()}

    n_members = len(next(iter(params.values())))
    each = [
        function(member(i, params), {name: member(i, values) for name, values in shift.items()})
        for i in range(n_members)
    ]
    return torch.stack(each)


_WAYS = (_at_once, _at_once_with_plain_attention, _one_by_one)
_KNOWN: MutableMapping[nn.Module, dict[object, int]] = WeakKeyDictionary()
