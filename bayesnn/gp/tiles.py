"""A kernel matrix K + σ²I in tiles, kept as far as a budget reaches and computed anew beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float64
from torch import Tensor

from bayesnn.gp.regression import Kernel


class KernelTiles:
    """K + σ²I as a linear map; of the symmetric K only tiles on and above the diagonal are made.

    Tiles are computed in x's dtype and rounded to the storage's, kept or not, so that the matrix is
    the same at every product. Products run in the storage's dtype, or in float64 where exactness is
    asked for; tiles' products are added in float64.

    Args:
        kernel: k(x1, x2=None) -> [n1, n2].
        x: points, [n, ...].
        noise_variance: σ².
        side: points of a tile.
        storage: dtype of the tiles.
        cache_bytes: bytes of tiles that are kept.
    """

    def __init__(
        self,
        kernel: Kernel,
        x: Tensor,
        *,
        noise_variance: float,
        side: int,
        storage: torch.dtype,
        cache_bytes: int,
    ) -> None:
        self._kernel, self._x, self._storage = kernel, x, storage
        self._noise_variance = noise_variance
        self._places = [
            (rows, columns)
            for i, rows in enumerate(_slices(len(x), side))
            for columns in _slices(len(x), side)[i:]
        ]
        self._room = cache_bytes
        self._kept: dict[int, Tensor] = {}
        self.kept_bytes = 0

    @property
    def n_tiles(self) -> int:
        """How many tiles K has on and above the diagonal."""
        return len(self._places)

    @property
    def n_kept(self) -> int:
        """How many of them are kept."""
        return len(self._kept)

    def times(self, v: Float64[Tensor, "n s"]) -> Float64[Tensor, "n s"]:
        """Return (K + σ²I)·v, tile by tile in the storage's dtype."""
        return self._product(v, self._storage)

    def times_exactly(self, v: Float64[Tensor, "n s"]) -> Float64[Tensor, "n s"]:
        """Return (K + σ²I)·v of the tiles as they are stored, in float64."""
        return self._product(v, torch.float64)

    def _product(self, v: Tensor, dtype: torch.dtype) -> Tensor:
        total = self._noise_variance * v
        given = v.to(dtype)
        for rows, columns, tile in self._tiles():
            values = tile.to(dtype)
            total[rows] += _times(values, given[columns])
            if rows != columns:
                total[columns] += _times(values.mT, given[rows])
        return total

    def _tiles(self) -> Iterator[tuple[slice, slice, Tensor]]:
        for number, (rows, columns) in enumerate(self._places):
            tile = self._kept.get(number)
            if tile is None:
                tile = self._compute(rows, columns)
                size = tile.numel() * tile.element_size()
                if self.kept_bytes + size <= self._room:
                    self._kept[number] = tile
                    self.kept_bytes += size
            yield rows, columns, tile

    def _compute(self, rows: slice, columns: slice) -> Tensor:
        if rows == columns:
            tile = self._kernel(self._x[rows])
        else:
            tile = self._kernel(self._x[rows], self._x[columns])
        return tile.detach().to(self._storage)


def _times(matrix: Tensor, v: Tensor) -> Tensor:
    if v.shape[1] > 1:
        return matrix @ v
    return torch.mv(matrix, v.squeeze(1)).unsqueeze(1)  # which reads a matrix at memory's speed


def _slices(n: int, side: int) -> list[slice]:
    return [slice(first, min(first + side, n)) for first in range(0, n, side)]
