"""The implementation of Joseph's method for the device that the data are on."""

from __future__ import annotations

import functools

from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.projectors.ray_tables import ray_tables
from ct.projectors.sparse import SparseWeights
from ct.projectors.triton_weights import TritonWeights, can_run_kernels


class WeightsByDevice:
    """Kernels on a GPU that they run on, else sparse matrices; either is made when first used."""

    def __init__(self, grid: ImageGrid, scan: Scan) -> None:
        self._grid = grid
        self._scan = scan

    def forward(self, x: Tensor) -> Tensor:
        """Return the sinograms [batch, views, detectors] of images [batch, rows, columns]."""
        return self._for(x).forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return sinograms [batch, views, detectors] back-projected to [batch, rows, columns]."""
        return self._for(y).adjoint(y)

    def _for(self, data: Tensor) -> SparseWeights | TritonWeights:
        if data.is_cuda and can_run_kernels(data.device) and self._kernels:
            return self._kernels
        return self._matrices

    @functools.cached_property
    def _matrices(self) -> SparseWeights:
        return SparseWeights(self._grid, self._scan)

    @functools.cached_property
    def _kernels(self) -> TritonWeights | None:
        tables = ray_tables(self._grid, self._scan)
        return TritonWeights(self._grid, self._scan, tables) if tables else None
