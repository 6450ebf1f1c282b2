import dataclasses
import math

import pytest
import torch

import ct
from ct.posterior.known_scan import known_scan, neighbours
from ct.posterior.view_folds import (
    blind_spot,
    by_direction,
    turned,
    unseen_directions,
    view_folds,
    without_fold,
)
from ct.problem import Problem


def _parallel(degrees: list[float]) -> ct.ParallelBeam:
    return ct.ParallelBeam([math.radians(d) for d in degrees], n_detectors=9)


def test_neighbours_in_direction_are_in_different_folds_whatever_the_order_of_views():
    golden = _parallel([k * 111.246 % 180 for k in range(40)])
    folds = view_folds(golden, 8)
    order = torch.tensor(golden.angles).argsort()
    assert folds.bincount().tolist() == [5] * 8
    for start in range(33):  # any eight neighbours are in eight folds
        assert len(set(folds[order[start : start + 8]].tolist())) == 8


def test_views_from_opposite_sides_are_held_out_together_if_they_see_the_same_rays():
    angles = [k * 10.0 for k in range(36)]
    for n in (5, 6):  # a number that divides the views of half a turn, and one that does not
        folds = view_folds(_parallel(angles), n)
        assert torch.equal(folds[:18], folds[18:])
    fan = ct.FanBeam(
        [math.radians(a) for a in angles], n_detectors=9, source_origin=50, source_detector=90
    )
    assert not torch.equal(view_folds(fan, 5)[:18], view_folds(fan, 5)[18:])


def test_rounding_does_not_send_the_first_view_to_the_end():
    scan = ct.ParallelBeam([0.5, -1e-12, math.pi + 1e-12, 2.0], n_detectors=9)
    assert by_direction(scan).tolist() == [1, 2, 0, 3]
    assert view_folds(scan, 3).tolist() == [1, 0, 0, 2]


def test_fewer_directions_than_folds_are_left_out_one_by_one():
    assert sorted(view_folds(_parallel([0, 40, 80, 120]), 10).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_views_to_hold_any_out_are_refused(n):
    with pytest.raises(ValueError, match=f"{n} views are too few to hold any out"):
        view_folds(_parallel([50.0 * k for k in range(n)]), 10)


@pytest.mark.parametrize(
    ("degrees", "unseen"),
    [
        ([k * 3.0 for k in range(60)], ""),
        ([k * 3.0 + 200 for k in range(60)], ""),
        ([k * 1.0 for k in range(181)], ""),
        ([k * 0.1 for k in range(1795)], ""),  # half a degree is no arc
        ([k * 0.5 for k in range(181)], "90° to 180°"),
        ([45 + k * 1.0 for k in range(91)], "135° to 225°"),
        ([k * 2.0 for k in range(30)] + [100 + k * 2.0 for k in range(40)], "58° to 100°"),
    ],
)
def test_directions_that_no_view_sees_are_named(degrees, unseen):
    assert unseen_directions(_parallel(degrees)) == unseen
    assert (unseen in blind_spot(_parallel(degrees))) == bool(unseen) or not unseen
    assert bool(blind_spot(_parallel(degrees))) == bool(unseen)


def _problem(scan: ct.ParallelBeam) -> Problem:
    grid = ct.ImageGrid((6, 6))
    noise_std = torch.full((scan.n_views, 9), 0.5, dtype=torch.float64)
    noise_std[1, 4] = math.inf
    return Problem(
        sinogram=torch.ones(scan.n_views, 9, dtype=torch.float64),
        noise_std=noise_std,
        projector=ct.projector(grid, scan),
        grid=grid,
        scan=scan,
        keep_samples=True,
    )


def test_a_fold_is_left_out_by_its_noise_alone():
    problem = _problem(_parallel([0, 30, 60, 90, 120, 150]))
    folds = view_folds(problem.scan, 3)
    left = without_fold(problem, folds, 1)
    assert torch.equal(left.noise_std[folds == 1], torch.full((2, 9), math.inf).double())
    assert torch.equal(left.noise_std[folds != 1], problem.noise_std[folds != 1])
    assert left.sinogram is problem.sinogram
    assert not left.keep_samples


def test_the_known_scan_looks_between_the_measured_views_with_their_noise():
    problem = _problem(_parallel([0, 90, 30, 60, 120, 150]))
    image = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scan = turned(problem.scan)
    assert [round(math.degrees(a)) for a in scan.angles] == [15, 105, 45, 75, 135, 165]
    quiet = dataclasses.replace(problem, noise_std=1e-12 * problem.noise_std)
    assert torch.allclose(
        known_scan(quiet, image, seed=0).sinogram, ct.projector(problem.grid, scan)(image)
    )
    simulated = [known_scan(problem, image, seed=seed) for seed in range(200)]
    noise = torch.stack([one.sinogram for one in simulated]) - ct.projector(problem.grid, scan)(
        image
    )
    measured = problem.noise_std.isfinite()
    assert float(noise[:, measured].std()) == pytest.approx(0.5, rel=0.02)
    assert bool((noise[:, ~measured] == 0).all())
    assert torch.equal(simulated[0].noise_std, problem.noise_std)


def test_neighbours_in_the_turned_scan_lie_half_a_step_on_either_side():
    scan = _parallel([0, 90, 30, 60, 120, 150])
    angles = torch.tensor(scan.angles)
    beside = torch.tensor(turned(scan).angles)[neighbours(scan)]
    distances = (beside - angles).rad2deg().round()
    assert distances[1].tolist() == [15] * 6
    assert distances[0].tolist() == [15, *[-15] * 5]  # the first has none before it
