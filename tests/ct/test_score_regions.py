"""Regions of scores: what counts as body and as edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ct.score_regions import EDGE_THRESHOLD, body_mask, edge_mask, score_regions


def disc(side: int, radius: float, *, at: tuple[float, float]) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (rows - at[0]).square() + (columns - at[1]).square() <= radius**2


def test_the_body_holds_its_lungs_and_leaves_out_table_and_noise() -> None:
    body = disc(96, 34, at=(44, 48))
    lungs = disc(96, 9, at=(44, 36)) | disc(96, 9, at=(44, 62))
    image = torch.where(body & ~lungs, 1.0, 0.0)
    image[88:90, 10:80] = 0.9  # a table
    generator = torch.Generator().manual_seed(0)
    image += 0.02 * torch.randn(image.shape, generator=generator)
    assert bool((body_mask(image) == body).all())


def test_two_legs_are_both_body() -> None:
    legs = disc(64, 12, at=(32, 16)) | disc(64, 8, at=(32, 46))
    assert bool((body_mask(legs.double()) == legs).all())


@pytest.mark.parametrize("scale", [1e-3, 1000.0])
def test_regions_do_not_depend_on_units(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    image = disc(48, 15, at=(20, 25)).double()
    image += 0.3 * torch.rand(image.shape, generator=generator, dtype=torch.float64)
    there = score_regions(image)
    for name, mask in score_regions(scale * image - 7 * scale).items():
        assert bool((mask == there[name]).all()), name


def test_edges_lie_within_the_distance_of_a_step() -> None:
    image = torch.zeros(40, 40)
    image[:, 20:] = 1.0  # central differences see the step at columns 19 and 20
    columns = torch.arange(40)
    expected = (columns >= 16) & (columns <= 23)
    assert bool((edge_mask(image) == expected).all())


def test_a_slope_is_an_edge_above_the_threshold_alone() -> None:
    for steepness, is_edge in ((0.8 * EDGE_THRESHOLD, False), (1.2 * EDGE_THRESHOLD, True)):
        ramp = (torch.arange(100) * steepness).clamp(0, 1)
        assert bool(edge_mask(ramp.expand(100, 100)).any()) == is_edge


def test_distance_is_that_of_a_naive_search() -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(17, 23, generator=generator, dtype=torch.float64)
    down, right = np.gradient(image.numpy())
    steep = torch.from_numpy(np.hypot(down, right) > 0.45 * float(image.max() - image.min()))
    assert bool(steep.any())
    assert not bool(steep.all())
    places = steep.nonzero().double()
    all_places = torch.ones_like(steep).nonzero().double()
    near = torch.cdist(all_places, places).amin(1).reshape(steep.shape) <= 1.5
    assert bool((edge_mask(image, threshold=0.45, distance=1.5) == near).all())


def test_an_image_of_one_value_has_neither() -> None:
    assert list(score_regions(torch.full((8, 8), 3.0))) == ["all"]
