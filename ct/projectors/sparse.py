"""Joseph's weights as sparse matrices, one for each direction, for CPU and GPU."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.projectors.crossings import Crossings, crossings

# below these, one matrix product costs more than a loop of matrix-vector products
# (512², 60 views: MKL on 2 cores, cuSPARSE on an H100)
_SMALLEST_BATCH_FOR_PRODUCT = {"cpu": 3, "cuda": 24}


class SparseWeights:
    """A and Aᵀ in compressed rows, made at first use for each dtype and device, and kept."""

    def __init__(self, grid: ImageGrid, scan: Scan) -> None:
        self._grid = grid
        self._scan = scan
        self._pairs: dict[tuple[torch.dtype, torch.device], _Pair] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the sinograms [batch, views, detectors] of images [batch, rows, columns]."""
        y = _product(self._pair(x).forward, x.reshape(len(x), -1))
        return y.reshape(-1, self._scan.n_views, self._scan.n_detectors)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return sinograms [batch, views, detectors] back-projected to [batch, rows, columns]."""
        return _product(self._pair(y).adjoint, y.reshape(len(y), -1)).reshape(-1, *self._grid.shape)

    def _pair(self, like: Tensor) -> _Pair:
        key = (like.dtype, like.device)
        if key not in self._pairs:
            matrix = joseph_matrix(self._grid, self._scan, like.dtype)
            # scipy's transpose by columns is Aᵀ by rows; storing both keeps both directions fast
            adjoint = matrix.tocsc().T
            self._pairs[key] = _Pair(
                _to_torch(matrix, like.device), _to_torch(adjoint, like.device)
            )
        return self._pairs[key]


class _Pair(NamedTuple):
    forward: Tensor
    adjoint: Tensor


def joseph_matrix(grid: ImageGrid, scan: Scan, dtype: torch.dtype) -> sparse.csr_array:
    """Weights of every pixel in every ray's line integral, in mm.

    A ray shares its length in each row (or column) that it crosses between the two pixels beside
    the point where it crosses, by linear interpolation.

    Args:
        grid: where the pixels are.
        scan: where the rays are.
        dtype: of the stored weights, float32 or float64; they are computed in float64.

    Returns:
        [views · detectors, rows · columns]; indices are int32 where they suffice, which MKL needs.
    """
    n_rays = scan.n_views * scan.n_detectors
    n_most = 2 * max(grid.shape) * n_rays
    index_type = np.int32 if max(n_most, math.prod(grid.shape)) < 2**31 else np.int64
    # memory that is never written is never taken, so the bound on its size costs nothing
    weights = np.empty(n_most, dtype=np.float32 if dtype == torch.float32 else np.float64)
    pixels = np.empty(n_most, dtype=index_type)
    starts = np.zeros(n_rays + 1, dtype=index_type)
    path = crossings(grid, scan)
    stop = 0
    for view in range(scan.n_views):
        view_pixels, view_weights, counts = _view(grid, path, view, index_type)
        start, stop = stop, stop + len(view_weights)
        pixels[start:stop] = view_pixels
        weights[start:stop] = view_weights
        rays = slice(view * scan.n_detectors + 1, (view + 1) * scan.n_detectors + 1)
        starts[rays] = start + np.cumsum(counts)
    shape = (n_rays, math.prod(grid.shape))
    return sparse.csr_array((weights[:stop], pixels[:stop], starts), shape=shape)


def _view(
    grid: ImageGrid, path: Crossings, view: int, index_type: type[np.signedinteger]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel indices and weights of one view, ray after ray, and how many each ray has."""
    rows, columns = grid.shape
    by_rows, first, step, length = (
        part[view, :, None].numpy() for part in (path.by_rows, path.first, path.step, path.length)
    )
    n_along, n_across = np.where(by_rows, rows, columns), np.where(by_rows, columns, rows)
    along = np.where(by_rows, columns, 1).astype(index_type)
    across = np.where(by_rows, 1, columns).astype(index_type)
    line = np.arange(n_along.max(), dtype=index_type)
    position = first + step * line
    low = np.floor(position)
    above = position - low
    low = np.clip(low, -2, n_across).astype(index_type)  # far rays must not overflow the index
    pixel = low * across + line * along
    pixels = np.stack([pixel, pixel + across], axis=-1)
    weights = np.stack([(1 - above) * length, above * length], axis=-1)
    crossed = line < n_along
    inside = np.stack(
        [crossed & (low >= 0) & (low < n_across), crossed & (low >= -1) & (low < n_across - 1)],
        axis=-1,
    )
    return pixels[inside], weights[inside], inside.sum(axis=(1, 2))


def _to_torch(matrix: sparse.csr_array, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # torch < 2.13 warns although it is told below
        warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            check_invariants=False,
        ).to(device)


def _product(matrix: Tensor, x: Tensor) -> Tensor:
    """Return `matrix` times each row of x [batch, n]."""
    device = x.device.type
    smallest = _SMALLEST_BATCH_FOR_PRODUCT.get(device, 1)
    if device == "cpu" and not torch._C.has_mkl:
        smallest = 1  # torch's own loops know the matrix product only
    with torch.autocast(device, enabled=False):  # which would round the weights
        if len(x) < smallest:
            return torch.stack([torch.mv(matrix, item) for item in x])
        return torch.mm(matrix, x.T).T
