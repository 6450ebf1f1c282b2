"""Views that are cut off are continued, and the image inside is right to a stated error."""

from __future__ import annotations

import math

import pytest
import torch

import ct
from tests.reference.ellipses import line_integrals, random_ellipses

N = 120
SCAN = ct.ParallelBeam([math.pi * k / 150 for k in range(150)], N)
WHOLE = ct.ParallelBeam(SCAN.angles, 260)
GRID = ct.ImageGrid((N, N))


def image(sinogram: torch.Tensor, scan: ct.ParallelBeam) -> torch.Tensor:
    return ct.reconstruct(sinogram, scan, GRID, method=ct.fbp(), noise_std=1.0).mean


@pytest.mark.parametrize("seed", range(3))
def test_the_inside_is_right_within_three_hundredths(seed: int) -> None:
    ellipses = random_ellipses(seed, radius=86)  # the field of view has 60
    cut_off = line_integrals(ellipses, SCAN)
    truth = image(line_integrals(ellipses, WHOLE), WHOLE)
    inside = torch.hypot(GRID.x_positions[None], GRID.y_positions[:, None]) < 0.7 * N / 2
    errors = [
        float((image(*given) - truth)[inside].square().mean().sqrt())
        for given in ((cut_off, SCAN), ct.extend_truncated(cut_off, SCAN))
    ]
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 2


def test_what_was_measured_stays_and_every_bin_keeps_its_place() -> None:
    cut_off = line_integrals(random_ellipses(0, radius=86), SCAN)
    longer, scan = ct.extend_truncated(torch.stack([cut_off, 2 * cut_off]), SCAN)
    assert torch.equal(longer[0][:, N : 2 * N], cut_off)
    assert torch.allclose(longer[1], 2 * longer[0])
    assert torch.allclose(scan.detector_positions[N : 2 * N], SCAN.detector_positions)


def test_views_that_are_whole_get_zeros() -> None:
    longer, _ = ct.extend_truncated(line_integrals(random_ellipses(0, radius=45), SCAN), SCAN)
    assert float(longer[:, :N].abs().max()) == 0


def test_a_grid_larger_than_the_field_of_view() -> None:
    grid = ct.grid_around(SCAN, pixel_size=0.5, share=1.5)
    assert grid.shape == (357, 357)
    with pytest.raises(ValueError, match="field of view"):
        ct.grid_around(ct.ParallelBeam([0.0], 5, center=-1.0), pixel_size=1.0)


def test_what_cannot_be_extended() -> None:
    with pytest.raises(ValueError, match="150 views of 120 detectors"):
        ct.extend_truncated(torch.ones(150, 119), SCAN)
    with pytest.raises(ValueError, match="axis on the detector"):
        ct.extend_truncated(torch.ones(2, 5), ct.ParallelBeam([0.0, 1.0], 5, center=7.0))
