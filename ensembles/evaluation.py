"""Values of many members at many points, in chunks that fit a budget."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ensembles.memory import bytes_per_point, slices_within
from ensembles.methods.protocol import Method, Params, Shift
from ensembles.side_by_side import over_members as over_members

# bytes of activations at a time, unless the user says otherwise
CPU_CHUNK = 2**26  # what fits the cache is faster too
DEVICE_CHUNK = 2**30


def chunk_budget(x: Tensor, memory_budget: int | None) -> int:
    """Return the bytes that a chunk's activations may take on x's device."""
    return memory_budget or (CPU_CHUNK if x.device.type == "cpu" else DEVICE_CHUNK)


def shift_values(
    method: Method,
    network: nn.Module,
    shift: Shift,
    x: Tensor,
    memory_budget: int | None = None,
) -> Tensor | None:
    """Return δ(x) of all members [m, n, k], or None where the method has no fixed function.

    Points go through in chunks whose activations take at most `memory_budget` bytes.
    """
    if not _has_shift(method, network, shift, x):
        return None
    if len(next(iter(next(iter(shift.values())).values()))) == 1:
        # batches of one round otherwise, and training would amplify that into another member
        both = {k: {n: torch.cat((v, v)) for n, v in params.items()} for k, params in shift.items()}
        beside_itself = shift_values(method, network, both, x, memory_budget)
        return None if beside_itself is None else beside_itself[:1]
    any_set = next(iter(shift.values()))  # something to run over; δ needs `shift` alone

    def at(points: Tensor, m: slice = slice(None)) -> Tensor:
        def one(_: Params, member: Shift) -> Tensor:
            result = method.shift(network, member, points)
            assert result is not None
            return result

        return over_members(
            one,
            _members(any_set, m),
            {k: _members(v, m) for k, v in shift.items()},
            network=network,
        )

    n_members = len(next(iter(any_set.values())))
    budget = chunk_budget(x, memory_budget)
    each = n_members * bytes_per_point(lambda p: at(p, slice(1)), x, enough=budget)
    return torch.cat([at(x[chunk]) for chunk in slices_within(len(x), each, budget)], dim=1)


def member_values(
    method: Method, network: nn.Module, params: Params, shift: Shift, x: Tensor
) -> Tensor:
    """Return f̃(x) = value + δ of all members, [m, n, k]; x should be one chunk of points.

    Both run in one pass over the members. They share no more: f is taken at θ, δ at θ₀ or θ*.
    """

    def one(member: Params, fixed: Shift) -> Tensor:
        value = method.value(network, member, fixed, x)
        added = method.shift(network, fixed, x) if fixed else None
        return value if added is None else value + added

    return over_members(one, params, shift, network=network)


def _members(params: Params, which: slice) -> Params:
    return {name: value[which] for name, value in params.items()}


def _has_shift(method: Method, network: nn.Module, shift: Shift, x: Tensor) -> bool:
    if not shift:
        return False
    first = {name: {k: v[0] for k, v in params.items()} for name, params in shift.items()}
    return method.shift(network, first, x[:1]) is not None
