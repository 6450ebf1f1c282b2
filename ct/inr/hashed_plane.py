"""A plane of nodes that share the entries of a table, with a gradient summed in a fixed order."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_FACTOR = 2654435761  # Müller et al., 2022


class HashedPlane(nn.Module):
    """Looks up the features of all nodes of a plane, F[:, i, j] = table[:, h(i, j)].

    Where the table has room for every node, h counts the nodes row by row. Elsewhere
    h(i, j) = (j ⊕ 2654435761 · i) mod entries. The gradient of an entry is the sum over the nodes
    that read it, from a list of them: a gather, where scattering would add in any order.
    """

    index: Tensor
    readers: Tensor

    def __init__(self, nodes: tuple[int, int], entries: int) -> None:
        super().__init__()
        rows, columns = nodes
        self._nodes = nodes
        self._dense = rows * columns <= entries
        if self._dense:
            return
        i, j = torch.arange(rows)[:, None], torch.arange(columns)
        index = ((j ^ (i * _FACTOR)) % entries).flatten()
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("readers", _readers(index, entries), persistent=False)

    def forward(
        self, table: Float[Tensor, "channels entries"]
    ) -> Float[Tensor, "channels nodes_y nodes_x"]:
        """Return the features of every node."""
        if self._dense:
            return table.reshape(*table.shape[:-1], *self._nodes)
        found = cast("Tensor", _LookUp.apply(table, self.index, self.readers))  # type: ignore[no-untyped-call]
        return found.reshape(*found.shape[:-1], *self._nodes)


def _readers(index: Int64[Tensor, " nodes"], entries: int) -> Int64[Tensor, "entries most"]:
    """Return the nodes that read each entry; the number of nodes stands for none."""
    order = torch.argsort(index, stable=True)
    entry = index[order]
    counts = torch.bincount(index, minlength=entries)
    first = counts.cumsum(0) - counts
    readers = torch.full((entries, int(counts.max())), len(index))
    readers[entry, torch.arange(len(index)) - first[entry]] = order
    return readers


class _LookUp(torch.autograd.Function):
    """A linear map of the last dimension: y = table[..., index], and its adjoint by a gather."""

    @staticmethod
    def forward(table: Tensor, index: Tensor, readers: Tensor) -> Tensor:  # noqa: ARG004
        return table.index_select(-1, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        _, index, readers = inputs
        ctx.save_for_backward(index, readers)
        ctx.save_for_forward(index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        _, readers = ctx.saved_tensors
        padded = nn.functional.pad(grad, (0, 1))
        read = padded.index_select(-1, readers.flatten())
        return read.reshape(*grad.shape[:-1], *readers.shape).sum(-1), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (index,) = ctx.saved_tensors
        return tangent.index_select(-1, index)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[int, None, None],
        table: Tensor,
        index: Tensor,
        readers: Tensor,
    ) -> tuple[Tensor, int]:
        return cast("Tensor", _LookUp.apply(table.movedim(in_dims[0], 0), index, readers)), 0  # type: ignore[no-untyped-call]
