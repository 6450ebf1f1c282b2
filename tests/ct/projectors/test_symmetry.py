"""Views that share weights: which they are, and that nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.operator import projector
from ct.projectors.reference import reference_projector
from ct.projectors.symmetry import Move, Symmetry, find_symmetry

SQUARE, WIDE = ImageGrid((5, 5)), ImageGrid((4, 6))


def _turn(n: int) -> np.ndarray:
    return 2 * np.pi * np.arange(n) / n


def _fan(angles: np.ndarray, center: float | None = None, offset: float = 0.0) -> FanBeam:
    return FanBeam(angles, 9, 20.0, 30.0, 1.5, center, offset)


def _found(grid: ImageGrid, scan: Scan) -> Symmetry:
    return find_symmetry(grid, scan)


@pytest.mark.parametrize(
    ("grid", "scan", "n_kept", "n_moves"),
    [
        (SQUARE, ParallelBeam(_turn(60) / 2, 9), 16, 4),
        (SQUARE, ParallelBeam(_turn(60) / 2, 9, center=2.3), 16, 4),
        (WIDE, ParallelBeam(_turn(60) / 2, 9), 31, 2),
        (SQUARE, ParallelBeam(_turn(60), 9), 8, 8),
        (SQUARE, ParallelBeam(_turn(16) / 2, 9), 5, 4),  # two of them along diagonals
        # a full turn of a fan, with its mirror images only where it is symmetric itself
        (SQUARE, _fan(_turn(60)), 8, 8),
        (SQUARE, _fan(_turn(60), center=3.5), 15, 4),
        (SQUARE, _fan(_turn(60), offset=0.1), 15, 4),
        (WIDE, _fan(_turn(60)), 16, 4),
        (SQUARE, ParallelBeam(0.01 + _turn(60) / 2, 9), 30, 2),
        (SQUARE, ParallelBeam(np.sqrt(np.arange(1, 21)) / 3, 9), 20, 1),
        # one pair in many: moving every image for it would cost more than it saves
        (SQUARE, ParallelBeam((0.1, 0.2, 0.3, 0.4, 0.5, 0.1 + math.pi / 2), 9), 6, 1),
        (SQUARE, ParallelBeam((0.3, 0.3, 0.3), 9), 1, 1),
    ],
)
def test_views_that_share(grid: ImageGrid, scan: Scan, n_kept: int, n_moves: int) -> None:
    found = _found(grid, scan)
    assert (len(found.kept), len(found.moves)) == (n_kept, n_moves)
    fast, slow = projector(grid, scan), reference_projector(grid, scan)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *fast.domain_shape, dtype=torch.float64, generator=generator)
    y = torch.randn(2, *fast.range_shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(fast(x), slow(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(fast.T(y), slow.T(y), rtol=1e-11, atol=1e-11)


def test_moves_are_undone() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    for mirrored in (False, True):
        for turns in range(4):
            move = Move(mirrored=mirrored, turns=turns)
            torch.testing.assert_close(move.image_after(move.image_before(x)), x)


def test_angles_that_differ_by_more_than_rounding_do_not_share() -> None:
    angles = np.array([0.3, 0.3 + math.pi / 2 + 1e-10])
    assert len(_found(SQUARE, ParallelBeam(angles, 9)).kept) == 2
