"""A function of points as a graph of plain tensor operations, for any number of points.

`torch.export` cannot trace `torch.func.jvp` with a length that is a symbol. So the function is
traced with two fixed lengths: what differs between the two graphs is the length times a factor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

SHORT, LONG = 7, 11  # lengths that hardly anything else in a network has
CHECKED = 5

Function = Callable[..., tuple[Tensor, ...]]


def trace_any_length(function: Function, state: Sequence[Tensor], x: Tensor) -> nn.Module:
    """Return a module that computes the function with operations of `torch.ops` alone.

    Args:
        function: (*state, points) -> tensors with one row a point; its operations may depend on
            shapes but on no values.
        state: tensors that the graph takes as they are.
        x: one point, [1, ...].

    Returns:
        A module (*state, points) -> tensors, for any number of points.

    Raises:
        ValueError: the operations depend on values, or on the number of points in another way than
            its multiples.
    """
    points = torch.cat([x + 0.1 * i for i in range(LONG)])
    graph = _trace(function, state, points[:SHORT])
    other = _trace(function, state, points)
    pairs = list(zip(graph.graph.nodes, other.graph.nodes, strict=False))
    if len(graph.graph.nodes) != len(other.graph.nodes):
        raise _dependent("another number of operations")
    *_, (batch, _) = (pair for pair in pairs if pair[0].op == "placeholder")
    length = _Length(graph.graph, batch)
    for node, twin in pairs:
        if (node.op, str(node.target)) != (twin.op, str(twin.target)):
            raise _dependent(f"{node.target} or {twin.target}")
        if node.op == "call_function":
            node.args = length.merged(node.args, twin.args)
            node.kwargs = length.merged(dict(node.kwargs), dict(twin.kwargs))
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.recompile()
    _compare(function, graph, state, points[:CHECKED])
    return graph


def _trace(function: Function, state: Sequence[Tensor], x: Tensor) -> fx.GraphModule:
    with torch.no_grad():
        try:
            traced: fx.GraphModule = make_fx(function)(*state, x)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                "network: it cannot be exported, because what it does depends on values, or on "
                f"operations that torch cannot trace ({str(error).splitlines()[0]})."
            ) from error
    traced.graph.eliminate_dead_code()
    return traced


class _Length:
    """The number of points in a graph, and its multiples, each computed once."""

    def __init__(self, graph: fx.Graph, batch: fx.Node) -> None:
        self._graph = graph
        with graph.inserting_after(batch):
            self._length = graph.call_function(torch.ops.aten.sym_size.int, (batch, 0))
        self._multiples = {1: self._length}

    def merged(self, short: Any, long: Any) -> Any:
        """Return the arguments of a call with what differs replaced by a multiple of the length."""
        if isinstance(short, fx.Node):
            return short
        if isinstance(short, list | tuple):
            parts = [self.merged(a, b) for a, b in zip(short, long, strict=True)]
            return type(short)(parts)
        if isinstance(short, dict):
            return {name: self.merged(value, long[name]) for name, value in short.items()}
        if isinstance(short, int) and short != long:
            return self._multiple(short, long)
        if isinstance(short, float) and short != long:
            raise _dependent(f"the numbers {short} and {long}")
        return short

    def _multiple(self, short: int, long: int) -> fx.Node:
        factor, rest = divmod(short, SHORT)
        if rest or long != factor * LONG:
            raise _dependent(f"the sizes {short} and {long}")
        if factor not in self._multiples:
            with self._graph.inserting_after(self._length):
                self._multiples[factor] = self._graph.call_function(
                    operator.mul, (self._length, factor)
                )
        return self._multiples[factor]


def _compare(function: Function, graph: fx.GraphModule, state: Sequence[Tensor], x: Tensor) -> None:
    with torch.no_grad():
        wanted, found = function(*state, x), graph(*state, x)
    for a, b in zip(wanted, found, strict=True):
        if a.shape != b.shape or not torch.allclose(a, b, rtol=1e-4, atol=1e-6, equal_nan=True):
            raise _dependent("other values")


def _dependent(what: str) -> ValueError:
    return ValueError(
        f"network: for export its operations must be the same for {SHORT} and {LONG} points but "
        f"for their number, found {what}; let it treat every point alike."
    )
