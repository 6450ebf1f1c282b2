"""Compare the GPU's kernels, run by Triton's interpreter on the CPU, with the reference.

    TRITON_INTERPRET=1 python -m tests.ct.projectors.interpreted_kernels

Triton decides when it is imported whether it compiles or interprets: hence a process of its own.
"""

from __future__ import annotations

import sys

import torch

from ct.geometry import ImageGrid, Scan
from ct.projectors.ray_tables import ray_tables
from ct.projectors.triton_weights import TritonWeights
from tests.reference.projector_cases import CASES, errors


def main() -> int:
    """Print every case; return how many are wrong."""
    wrong = 0
    for n, (name, (grid, scan)) in enumerate(CASES.items()):
        batch = (1, 3, 9, 2)[n % 4]
        dtype, tolerance = ((torch.float64, 1e-12), (torch.float32, 1e-5))[n % 3 == 0]
        found = _errors(grid, scan, batch, dtype)
        good = max(found.values()) <= tolerance  # NaN is not
        wrong += not good
        print("good " if good else "WRONG", name, batch, dtype, found)
    return wrong


def _errors(grid: ImageGrid, scan: Scan, batch: int, dtype: torch.dtype) -> dict[str, float]:
    tables = ray_tables(grid, scan)
    if tables is None:
        raise AssertionError("kernels cannot take this scan")
    weights = TritonWeights(grid, scan, tables)
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, *grid.shape, dtype=dtype, generator=generator)
    y = torch.randn(batch, scan.n_views, scan.n_detectors, dtype=dtype, generator=generator)
    return errors(weights.forward, weights.adjoint, grid, scan, x, y)


if __name__ == "__main__":
    sys.exit(main())
