"""Fitted ensembles as programs of `torch.export`, which run without this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from bayesnn.files import atomic_write
from ensembles.prediction import EnsembleFunction
from ensembles.tracing import trace_any_length


class _Program(nn.Module):
    """A traced function with the tensors that it needs."""

    def __init__(self, graph: nn.Module, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.traced = graph
        self.names = [name.replace(".", "/") for name in state]
        for name, value in zip(self.names, state.values(), strict=True):
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the function's values at x; a single tensor alone."""
        result: tuple[Tensor, ...] = self.traced(*(self.get_buffer(n) for n in self.names), x)
        return result if len(result) > 1 else result[0]


def export_outputs(
    function: EnsembleFunction,
    outputs: Callable[[Float[Tensor, "m n k"]], tuple[Tensor, ...]],
    shape: tuple[int, ...],
) -> ExportedProgram:
    """Return what an ensemble says as a program for any number of points.

    Args:
        function: the members' values.
        outputs: what to make of them, tensors with one row a point.
        shape: of one point.

    Returns:
        The program, in the members' dtype and on their device; `program.module()` is callable on
        points [n, *shape].

    Raises:
        ValueError: the network's operations depend on how many points there are.
    """
    state = {f"params/{name}": value for name, value in function.params.items()}
    for part, params in function.shift.items():
        state |= {f"shift/{part}/{name}": value for name, value in params.items()}

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        held = dict(zip(state, tensors[:-1], strict=True))
        shift = {
            part: {name: held[f"shift/{part}/{name}"] for name in params}
            for part, params in function.shift.items()
        }
        params = {name: held[f"params/{name}"] for name in function.params}
        return outputs(replace(function, params=params, shift=shift)(tensors[-1]))

    one = next(iter(function.params.values()))
    point = torch.zeros(1, *shape, dtype=one.dtype, device=one.device)
    values = [value.detach() for value in state.values()]
    graph = trace_any_length(flat, values, point)
    program = _Program(graph, dict(zip(state, values, strict=True))).eval()
    with torch.no_grad():
        exported = torch.export.export(
            program, (torch.cat([point] * 3),), dynamic_shapes=({0: Dim("n")},)
        )
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return exported


def write_program(program: ExportedProgram, path: str | os.PathLike[str]) -> None:
    """Write a program in torch's own format, whole or not at all.

    Args:
        program: the program.
        path: the file to be written or replaced; torch wants the ending `.pt2`.

    Raises:
        ValueError: the path cannot be written, or ends otherwise.
    """
    if os.fspath(path)[-4:] != ".pt2":
        raise ValueError(f"{path}: expected a file name that ends in .pt2, torch's own format.")
    with atomic_write(path) as temporary:
        torch.export.save(program, temporary)
