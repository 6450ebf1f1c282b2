"""Kernel matrices filled tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bayesnn.kernels.tiles import Run, Tiling, spans, workers

Variances = Sequence[Tensor]  # of some points, after each step


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """What a kernel computes of points.

    Attributes:
        variances: takes points to their variances, each [n, ...].
        follow: takes points x1, x2 and the variances of both to results, each [n1, n2]; the second
            are the same objects as the first where the points are the same.
    """

    variances: Callable[[Tensor], Variances]
    follow: Callable[[Tensor, Tensor, Variances, Variances], tuple[Tensor, ...]]

    def tile(
        self, x1: Tensor, x2: Tensor, first: Variances, second: Variances
    ) -> tuple[Tensor, ...]:
        """Return the results, symmetric where the points are the same."""
        results = self.follow(x1, x2, first, second)
        if x2 is x1:
            # rules may treat the two points differently, by rounding or quadrature
            return tuple((each + each.T) / 2 for each in results)
        return results


def whole(recursion: Recursion, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
    """Return the matrices of x1 and x2, [n1, n2], in one piece, as derivatives need them."""
    first = recursion.variances(x1)
    second = first if x2 is x1 else recursion.variances(x2)
    return recursion.tile(x1, x2, first, second)


def fill(
    results: tuple[Tensor, ...], recursion: Recursion, x1: Tensor, x2: Tensor, plan: Tiling
) -> None:
    """Write the matrices of x1 and x2 into tensors, [n1, n2]; without derivatives.

    Where x2 is x1, tiles below the diagonal are copies of those above.
    """
    symmetric = x2 is x1
    one = max(len(x1), len(x2)) <= plan.tile
    with workers(1 if one else plan.threads) as run:
        for rows in spans(len(x1), plan.block):
            left = _side(recursion, x1[rows], plan.tile, run)
            for columns in spans(len(x2), plan.block):
                if symmetric and columns.start < rows.start:
                    continue
                same = symmetric and columns == rows
                block = _Block(
                    first=left,
                    second=left if same else _side(recursion, x2[columns], plan.tile, run),
                    targets=tuple(each[rows, columns] for each in results),
                    mirrors=tuple(each[columns, rows] for each in results) if symmetric else (),
                    side=plan.tile,
                )
                run(block.jobs(recursion))


Piece = tuple[Tensor, Variances]  # points of a tile and their variances


def _side(recursion: Recursion, x: Tensor, size: int, run: Run) -> list[Piece]:
    found: list[Variances] = []
    run([lambda: found.append(recursion.variances(x))])
    pieces = zip(*(torch.split(each, size) for each in found[0]), strict=True)
    return list(zip(torch.split(x, size), pieces, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Block:
    first: list[Piece]
    second: list[Piece]  # first itself where the points are the same
    targets: tuple[Tensor, ...]
    mirrors: tuple[Tensor, ...]  # where the transposes belong
    side: int

    def jobs(self, recursion: Recursion) -> Iterator[Callable[[], None]]:
        for i in range(len(self.first)):
            for j in range(i if self.second is self.first else 0, len(self.second)):
                yield partial(self._compute, recursion, i, j)

    def _compute(self, recursion: Recursion, i: int, j: int) -> None:
        (x1, first), (x2, second) = self.first[i], self.second[j]
        rows, columns = (slice(k * self.side, (k + 1) * self.side) for k in (i, j))
        tiles = recursion.tile(x1, x2, first, second)
        for tile, target in zip(tiles, self.targets, strict=True):
            target[rows, columns] = tile
        if x2 is not x1:
            for tile, mirror in zip(tiles, self.mirrors, strict=bool(self.mirrors)):
                mirror[columns, rows] = tile.T
