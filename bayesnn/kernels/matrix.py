"""Kernel matrices filled block by block, and each block tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bayesnn.kernels.tiles import Tiling, in_threads, spans

Variances = Sequence[Tensor]  # of some points, after each step that needs them


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """What a kernel computes of points and their products.

    Attributes:
        products: takes points x1, x2 to the covariances [n1, n2, ...] that the layers begin with.
        variances: takes points to their variances, each [n, ...].
        follow: takes covariances and both points' variances to results, each [n1, n2]; the two are
            the same object where the points are the same.
    """

    products: Callable[[Tensor, Tensor], Tensor]
    variances: Callable[[Tensor], Variances]
    follow: Callable[[Tensor, Variances, Variances], tuple[Tensor, ...]]


def whole(recursion: Recursion, x1: Tensor, x2: Tensor) -> tuple[Tensor, ...]:
    """Return the matrices of x1 and x2 in one piece, as derivatives need them."""
    first = recursion.variances(x1)
    second = first if x2 is x1 else recursion.variances(x2)
    return _tile(recursion, recursion.products(x1, x2), first, second)


def fill(
    results: tuple[Tensor, ...], recursion: Recursion, x1: Tensor, x2: Tensor, plan: Tiling
) -> None:
    """Write the matrices of x1 and x2, [n1, n2], into tensors; without derivatives.

    Where x2 is x1, tiles below the diagonal are copies of those above.
    """
    symmetric = x2 is x1
    for rows in spans(len(x1), plan.block):
        left = x1[rows]
        first = _pieces(recursion.variances(left), plan.tile)
        for columns in spans(len(x2), plan.block):
            if symmetric and columns.start < rows.start:
                continue
            same = symmetric and columns == rows
            right = left if same else x2[columns]
            second = first if same else _pieces(recursion.variances(right), plan.tile)
            block = _Block(
                products=recursion.products(left, right),
                first=first,
                second=second,
                targets=tuple(each[rows, columns] for each in results),
                mirrors=tuple(each[columns, rows] for each in results) if symmetric else (),
                side=plan.tile,
            )
            in_threads(plan.threads, block.jobs(recursion))


@dataclass(frozen=True, kw_only=True)
class _Block:
    products: Tensor
    first: list[Variances]
    second: list[Variances]  # first itself where the points are the same
    targets: tuple[Tensor, ...]
    mirrors: tuple[Tensor, ...]  # where the transposes belong
    side: int

    def jobs(self, recursion: Recursion) -> Iterator[Callable[[], None]]:
        same = self.second is self.first
        for i, rows in enumerate(spans(self.products.shape[0], self.side)):
            for j, columns in enumerate(spans(self.products.shape[1], self.side)):
                if not same or j >= i:
                    first = self.first[i]
                    second = first if same and i == j else self.second[j]
                    yield partial(self._compute, recursion, rows, columns, first, second)

    def _compute(
        self, recursion: Recursion, rows: slice, columns: slice, first: Variances, second: Variances
    ) -> None:
        tiles = _tile(recursion, self.products[rows, columns], first, second)
        for tile, target in zip(tiles, self.targets, strict=True):
            target[rows, columns] = tile
        if second is not first:
            for tile, mirror in zip(tiles, self.mirrors, strict=bool(self.mirrors)):
                mirror[columns, rows] = tile.T


def _tile(
    recursion: Recursion, products: Tensor, first: Variances, second: Variances
) -> tuple[Tensor, ...]:
    results = recursion.follow(products, first, second)
    if second is first:
        # rules may treat the two points differently, by rounding or quadrature
        return tuple((each + each.T) / 2 for each in results)
    return results


def _pieces(variances: Variances, size: int) -> list[Variances]:
    return list(zip(*(torch.split(each, size) for each in variances), strict=True))
