"""Where discs and empty places are put, and what is compared with what."""

import math

import pytest
import torch

import ct
from ct.lesion_study import Lesion, observe_lesions, place_lesions
from ct.result import Reconstruction


def test_the_surroundings_are_a_ring_that_begins_beyond_a_gap():
    image = torch.zeros(31, 31)
    ring = Lesion(row=14, column=16, radius=3.0, contrast=1.0).surroundings(image)
    for row in range(31):
        for column in range(31):
            distance = math.hypot(row - 14, column - 16)
            assert bool(ring[row, column]) == (4.5 < distance <= 7.0)


def test_contrasts_are_shares_of_the_range_and_places_flat():
    image = torch.full((64, 64), -1000.0, dtype=torch.float64)
    image[6:58, 6:58] = 100.0
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).double()
    image[6:58, 6:32] += 30 * noise[6:58, 6:32]
    lesions = place_lesions(image, radii=[2.0], contrasts=[0.1], n_each=1, n_empty=1)
    spread = float(image.max() - image.min())
    contrasts = sorted(one.contrast for one in lesions)
    assert contrasts == pytest.approx([0, 0.1 * spread])
    assert all(one.column > 32 + one.reach - 1 for one in lesions)


def test_discs_lie_inside_an_image_that_the_body_fills():
    image = torch.arange(40)[:, None].expand(40, 40).double().clone()
    image[20:] += 1000  # the body reaches three edges
    lesions = place_lesions(image, radii=[2.0], contrasts=[0.1], n_each=4, n_empty=20)
    assert lesions
    for one in lesions:
        assert 20 + one.reach - 1 <= one.row <= 39 - one.reach + 1
        assert one.reach - 1 <= one.column <= 39 - one.reach + 1


def test_coverage_is_that_of_the_level_that_is_asked_for():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(400, 24, 24, generator=generator, dtype=torch.float64)
    samples = (samples - samples.mean(0)) / samples.std(0)
    result = Reconstruction(
        mean=torch.zeros(24, 24, dtype=torch.float64),
        std=torch.ones(24, 24, dtype=torch.float64),
        samples=samples,
        metadata={"method": "known", "n_samples": 400},
        grid=ct.ImageGrid((24, 24)),
        scan=ct.ParallelBeam([0.0], n_detectors=4),
    )
    disc = Lesion(row=12, column=12, radius=3.0, contrast=1.0)
    inside, ring = disc.disc(result.mean), disc.surroundings(result.mean)
    n_pixels = int(inside.sum())
    # as large as pixels' intervals of 80 and of 98 % would hold, and the disc's mean's
    for shift, of_pixels, of_region in (
        (1.65, {0.8: 0.0, 0.98: 1.0}, {0.8: False, 0.98: False}),
        (1.65 / n_pixels**0.5, {0.8: 1.0, 0.98: 1.0}, {0.8: False, 0.98: True}),
    ):
        truth = torch.full((24, 24), shift, dtype=torch.float64)
        for level in (0.8, 0.98):
            (one,) = observe_lesions(result, truth, [disc], level=level)
            assert one.pixels_covered == of_pixels[level]
            assert one.region_covered == of_region[level]
    contrasts = samples[:, inside].mean(1) - samples[:, ring].mean(1)
    assert one.spread == pytest.approx(float(contrasts.std()))
