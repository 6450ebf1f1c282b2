import math

import pytest
import torch

import ct
from ct.nonlocal_prior.blocks import blocks_of, match_blocks
from ct.nonlocal_prior.patch_prior import PatchPrior
from ct.nonlocal_prior.portions import portions_under
from ct.posterior.chunked import peak_bytes
from ct.problem import Problem

SETTINGS = {"patch": 6, "group": 8, "reach": 5, "stride": 4}


def _random(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _images(side):
    return _random(1, side, side, seed=0).cumsum(1), 0.5 * _random(2, 1, side, side, seed=1)


@pytest.mark.parametrize("budget", [0, 2**20])
def test_the_result_does_not_depend_on_the_memory(budget, device):
    images, noise = (one.to(device) for one in _images(40))
    found = [
        PatchPrior(images, budget=one, **SETTINGS).clean(images, noise, strength=1.3, match=True)
        for one in (None, budget)
    ]
    tolerance = 1e-9 if device == "cpu" else 1e-7
    assert torch.allclose(found[0], found[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("budget", [2**20, 2**21])
def test_each_part_of_the_work_keeps_to_the_budget_and_makes_use_of_it(budget):
    images, noise = _images(48)
    prior = PatchPrior(images, budget=budget, **SETTINGS)
    cleaning = peak_bytes(lambda: prior.clean(images, noise, strength=1.0, match=True))
    measuring = peak_bytes(lambda: prior._levels(noise[:, 0]))
    assert 0.4 * budget < cleaning <= budget
    assert measuring <= budget


def test_differences_to_far_patches_keep_to_the_budget():
    image = _random(48, 48, seed=0)
    blocks = blocks_of((48, 48), side=6, stride=8, reach=20, group=4)
    portions = portions_under(2**20, blocks, image)
    assert portions.offsets < 41
    matching = peak_bytes(lambda: match_blocks(image, blocks, at_once=portions.offsets))
    assert 0.4 * 2**20 < matching <= 2**20


def test_where_memory_is_plentiful_all_is_done_at_once():
    blocks = blocks_of((72, 60))
    like = torch.zeros(1)
    everything = portions_under(None, blocks, like)
    assert everything.group_rows == len(blocks.reference_rows) == 23
    plenty = portions_under(2**32, blocks, like)
    assert plenty.groups == everything.groups
    assert plenty.group_rows == everything.group_rows
    assert plenty.offsets >= everything.offsets == 33
    assert plenty.cell_rows >= 9


def _solving(monkeypatch, side, n_slices, budget, **settings):
    """Return the most bytes that reconstructing slices takes at one time."""
    # later iterations take no more memory
    monkeypatch.setattr("ct.nonlocal_prior.bm3d._TV_ITERATIONS", 2)
    monkeypatch.setattr("ct.nonlocal_prior.bm3d._SOLVER_STEPS", 2)
    n_bins = math.ceil(math.sqrt(2) * side)
    grid = ct.ImageGrid((side, side))
    scan = ct.ParallelBeam([k * math.pi / 16 for k in range(16)], n_detectors=n_bins)
    projector = ct.projector(grid, scan)
    problems = [
        Problem(
            sinogram=projector(_random(side, side, seed=seed).float()),
            noise_std=torch.full((16, n_bins), 2.0),
            projector=projector,
            grid=grid,
            scan=scan,
            memory_budget=budget,
        )
        for seed in range(n_slices)
    ]
    method = ct.bm3d(steps=2, stride=8, **settings)
    return peak_bytes(lambda: method.solve_slices(problems))


@pytest.mark.parametrize(("n_slices", "times"), [(2, 1), (1, 3)])
def test_slices_that_fit_by_the_methods_own_count_keep_to_the_budget(monkeypatch, n_slices, times):
    budget = times * n_slices * ct.bm3d().working_copies * (64 * 64 + 16 * 91) * 4
    assert 0.2 * budget < _solving(monkeypatch, 64, n_slices, budget, reach=4) <= budget


@pytest.mark.parametrize("side", [40, 72])
def test_one_slice_holds_no_more_than_the_smallest_portion_beside_it(monkeypatch, side):
    one = (side**2 + 16 * math.ceil(math.sqrt(2) * side)) * 4
    strip = 4 * min(2 * 16 + 1, side - 7) * (side - 7) * 8**2 * 4
    most = ct.bm3d().working_copies // 3 * one + strip
    assert 0.7 * most < _solving(monkeypatch, side, 1, 1) <= most
