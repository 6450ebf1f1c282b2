from __future__ import annotations

import math

import pytest
import torch

import ct
from ct.classical.primal_dual_metric import apply_filter, fourier_metric
from ct.geometry import Scan
from tests.reference.naive_total_variation import difference_matrix

THIRD = [k * math.pi / 3 / 8 for k in range(8)]
SCANS = {
    "parallel": ct.ParallelBeam([k * math.pi / 9 for k in range(9)], 18),
    "limited arc": ct.ParallelBeam(THIRD, 18),
    "one view": ct.ParallelBeam([0.3], 18),
    "twice the same": ct.ParallelBeam([0.0, math.pi], 18),
    "fine bins, part of the image": ct.ParallelBeam([0.1, 0.9, 2.0], 12, 0.3),
    "fan": ct.FanBeam(
        [k * math.pi / 6 for k in range(12)], 24, source_origin=40.0, source_detector=60.0
    ),
}


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("shape", [(12, 12), (9, 14)])
def test_filters_bound_projection_and_differences(scan: Scan, shape: tuple[int, int]) -> None:
    grid = ct.ImageGrid(shape)
    operator = ct.projector(grid, scan)
    pixels = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    metric = fourier_metric(operator, grid, scan, pixels)
    forward = operator(pixels).flatten(1)
    differences = torch.from_numpy(difference_matrix(*shape))
    for gram, symbol in (
        (forward @ forward.T, metric.projection),
        (differences.T @ differences, metric.difference),
    ):
        bound = apply_filter(pixels, symbol).flatten(1)
        lowest = torch.linalg.eigvalsh((bound + bound.T) / 2 - gram)[0]
        assert float(lowest) > -1e-9 * float(torch.linalg.eigvalsh(gram)[-1])
    # and no looser than the margin says
    root = apply_filter(pixels, metric.projection.rsqrt()).flatten(1)
    largest = float(torch.linalg.eigvalsh(root @ (forward @ forward.T) @ root)[-1])
    assert 0.9 < largest <= 1
    torch.testing.assert_close(metric.ones_projection, operator(torch.ones_like(pixels[0])))


def test_filter_of_ones_changes_nothing() -> None:
    image = torch.randn(2, 5, 7, dtype=torch.float64)
    ones = torch.ones(5, 4, dtype=torch.float64)
    torch.testing.assert_close(apply_filter(image, ones), image)


def test_scan_that_sees_nothing_has_a_finite_metric() -> None:
    grid, scan = ct.ImageGrid((4, 4)), ct.ParallelBeam([0.0], 3, center=-50.0)
    metric = fourier_metric(ct.projector(grid, scan), grid, scan, torch.ones(1))
    assert bool(metric.projection.isfinite().all())
    assert bool((metric.projection > 0).all())
