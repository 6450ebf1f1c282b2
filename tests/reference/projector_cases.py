"""Scans that a projector's index arithmetic could get wrong, and how far it is from the truth."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.reference import reference_projector

Map = Callable[[Tensor], Tensor]
QUARTERS = tuple(k * math.pi / 4 for k in range(8))

CASES: dict[str, tuple[ImageGrid, Scan]] = {
    "parallel, axes and diagonals": (ImageGrid((7, 5)), ParallelBeam(QUARTERS, 9)),
    "parallel, coarse bins, centre outside": (
        ImageGrid((3, 11), 0.7),
        ParallelBeam((-5.9, 0.3, 2.0, 2.1, 5.0), 8, 2.2, center=-1.3),
    ),
    "parallel, fine bins": (ImageGrid((6, 4), 1.5), ParallelBeam((0.2, 1.5), 40, 0.2)),
    "parallel, rays beside the image": (ImageGrid((2, 2)), ParallelBeam((0.1,), 3, center=1e6)),
    "parallel, more than a block": (
        ImageGrid((13, 37), 0.9),
        ParallelBeam([0.1 * k for k in range(6)], 70, 0.8, center=30.2),
    ),
    "one pixel, one ray": (ImageGrid((1, 1)), ParallelBeam((0.4,), 1)),
    "one pixel, source near": (ImageGrid((1, 1)), FanBeam((0.0, 2.0), 3, 1.1, 2.0, curved=True)),
    "flat fan, mixed views": (
        ImageGrid((9, 12), 0.5),
        FanBeam(QUARTERS, 21, 5.0, 9.0, 0.9, source_offset=0.3),
    ),
    "flat fan, source near": (
        ImageGrid((8, 8)),
        FanBeam((0.2, 2.5, 4.4), 30, 6.6, 8.0, 0.5, center=11.0),
    ),
    "flat fan, source far": (
        ImageGrid((5, 6)),
        FanBeam((0.2, 1.4), 30, 400.0, 600.0, 0.6),
    ),
    "curved fan": (
        ImageGrid((5, 14)),
        FanBeam((0.0, 1.0, -2.2), 25, 9.0, 20.0, 1.7, source_offset=-1.0, curved=True),
    ),
    "curved fan, fine bins": (
        ImageGrid((6, 6)),
        FanBeam((0.7, 3.9), 61, 5.2, 7.0, 0.15, curved=True),
    ),
}


def random_case(seed: int, side: int) -> tuple[ImageGrid, Scan]:
    """Draw a grid of up to `side` pixels a side, and a scan of any kind."""
    rng = random.Random(seed)
    grid = ImageGrid((rng.randint(1, side), rng.randint(1, side)), rng.uniform(0.3, 3))
    angles = [rng.choice([rng.uniform(-6, 6), *QUARTERS]) for _ in range(rng.randint(1, 12))]
    n_bins = rng.randint(1, 2 * side)
    spacing = grid.pixel_size * rng.uniform(0.2, 3)
    center = rng.choice([None, rng.uniform(-3, n_bins + 3)])
    if rng.random() < 0.5:
        return grid, ParallelBeam(angles, n_bins, spacing, center)
    near = (grid.radius + grid.pixel_size) * rng.uniform(1.01, 4)
    far = near * rng.uniform(1, 3)
    offset = grid.pixel_size * rng.uniform(-5, 5)
    curved = rng.random() < 0.5
    # an arc of less than half a turn
    spacing = min(spacing, far / (n_bins + 4))
    return grid, FanBeam(angles, n_bins, near, far, spacing, center, offset, curved)


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Memory that is not written reads as NaN."""
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)


def errors(
    forward: Map, adjoint: Map, grid: ImageGrid, scan: Scan, x: Tensor, y: Tensor
) -> dict[str, float]:
    """Return how far both maps are from the reference, and from being each other's adjoint."""
    truth = reference_projector(grid, scan)
    with poisoned_memory():
        Ax, Aty = forward(x).double(), adjoint(y).double()
    x, y = x.double(), y.double()
    sizes = Ax.norm() * y.norm() + Aty.norm() * x.norm()
    return {
        "forward": _relative(Ax, truth(x)),
        "adjoint": _relative(Aty, truth.T(y)),
        "transpose": float(((Ax * y).sum() - (x * Aty).sum()).abs() / sizes.clamp(min=1e-300)),
    }


def _relative(a: Tensor, b: Tensor) -> float:
    # images and sinograms are of order one: what is that small is a rounded zero
    return float((a - b).norm() / b.norm().clamp(min=1e-3))
