"""Projection as products with sparse matrices, one for each direction."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.projectors.crossings import crossings
from ct.projectors.joseph_matrix import joseph_matrix
from ct.projectors.symmetry import find_symmetry

# below these, one matrix product costs more than a loop of matrix-vector products
# (512², 60 views: MKL on 2 cores, cuSPARSE on an H100)
_SMALLEST_BATCH_FOR_PRODUCT = {"cpu": 3, "cuda": 24}
_MOST_COLUMNS = 8  # of one product; with 16 a pixel's values no longer stay in the cache


class SparseWeights:
    """A and Aᵀ in compressed rows, each made at first use for a dtype and device, and kept.

    Views that are one another's mirror images or quarter turns share weights, which then meet
    the moved images side by side, as the columns of one matrix product.
    """

    def __init__(self, grid: ImageGrid, scan: Scan) -> None:
        self._grid = grid
        self._scan = scan
        self._path = crossings(grid, scan)
        self._symmetry = find_symmetry(grid, scan)
        self._matrices: dict[torch.dtype, sparse.csr_array] = {}
        self._tensors: dict[tuple[torch.dtype, torch.device, bool], Tensor] = {}
        self._ray_indices: dict[torch.device, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the sinograms [batch, views, detectors] of images [batch, rows, columns]."""
        moves, index = self._symmetry.moves, self._ray_index(x.device)
        matrix = self._matrix(x, transposed=False)
        rows, columns = self._grid.shape
        y = x.new_empty(len(x), len(index))
        for part in _parts(len(x), len(moves)):
            images = x[part]
            moved = x.new_empty(rows, columns, len(moves), len(images))
            for i, move in enumerate(moves):
                moved[:, :, i] = move.image_before(images).permute(1, 2, 0)
            values = _product(matrix, moved.reshape(rows * columns, -1))
            y[part] = values.reshape(-1, len(images)).index_select(0, index).T
        return y.reshape(-1, self._scan.n_views, self._scan.n_detectors)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return sinograms [batch, views, detectors] back-projected to [batch, rows, columns]."""
        moves, index = self._symmetry.moves, self._ray_index(y.device)
        matrix = self._matrix(y, transposed=True)
        x = y.new_empty(len(y), *self._grid.shape)
        for part in _parts(len(y), len(moves)):
            sinograms = y[part].reshape(-1, len(index))
            values = y.new_zeros(matrix.shape[1] * len(moves), len(sinograms))
            values.index_add_(0, index, sinograms.T)  # views may be at the same angle
            moved = _product(matrix, values.reshape(matrix.shape[1], -1))
            moved = moved.reshape(*self._grid.shape, len(moves), len(sinograms))
            for i, move in enumerate(moves):
                image = move.image_after(moved[:, :, i].permute(2, 0, 1))
                x[part] = image if i == 0 else x[part].add_(image)
        return x

    @property
    def stored_bytes(self) -> int:
        """Memory that the matrices made so far take on their devices."""
        return sum(
            part.element_size() * part.numel()
            for matrix in self._tensors.values()
            for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices())
        )

    def _matrix(self, like: Tensor, *, transposed: bool) -> Tensor:
        key = (like.dtype, like.device, transposed)
        if key not in self._tensors:
            if like.dtype not in self._matrices:
                dtype = np.float32 if like.dtype == torch.float32 else np.float64
                views = self._symmetry.kept
                self._matrices[like.dtype] = joseph_matrix(self._grid, self._path, views, dtype)
            matrix = self._matrices[like.dtype]
            # scipy's transpose by columns is Aᵀ by rows
            self._tensors[key] = _to_torch(matrix.tocsc().T if transposed else matrix, like.device)
        return self._tensors[key]

    def _ray_index(self, device: torch.device) -> Tensor:
        if device not in self._ray_indices:
            self._ray_indices[device] = self._symmetry.ray_index(self._scan).to(device)
        return self._ray_indices[device]


def _parts(n: int, n_moves: int) -> Iterator[slice]:
    """Yield the slices of a batch that go into one product each."""
    size = max(1, _MOST_COLUMNS // n_moves)
    for start in range(0, n, size):
        yield slice(start, start + size)


def _to_torch(matrix: sparse.csr_array, device: torch.device) -> Tensor:
    if matrix.nnz > matrix.shape[0] * matrix.shape[1]:
        matrix.sum_duplicates()  # zeros beside the image, of one pixel: cuSPARSE refuses so many
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
    """Return `matrix` times each column of x [n, columns]."""
    device = x.device.type
    smallest = _SMALLEST_BATCH_FOR_PRODUCT.get(device, 1)
    if device == "cpu" and not torch._C.has_mkl:
        smallest = 1  # torch's own loops know the matrix product only
    with torch.autocast(device, enabled=False):  # which would round the weights
        if x.shape[1] < smallest:
            return torch.stack([torch.mv(matrix, column) for column in x.unbind(1)], dim=1)
        return torch.mm(matrix, x)
