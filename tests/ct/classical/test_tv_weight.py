from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

import ct
from ct.classical.primal_dual import minimise, start
from ct.classical.primal_dual_metric import Metric, fourier_metric
from ct.classical.tv_differences import isotropic
from ct.classical.tv_objective import TVProblem, tv_problem
from ct.classical.tv_weight import _Search, _steps_above, choose_weights
from ct.problem import Problem

# thousands of small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
GRID = ct.ImageGrid((32, 32))


def _phantom(
    views: int, noise: float, *, slices: int = 1
) -> tuple[TVProblem, Metric, torch.Tensor]:
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    truth = (x.square() + y.square() < 150).double() + 0.5 * (x > 2) * (y.abs() < 6)
    scan = ct.ParallelBeam([k * math.pi / views for k in range(views)], 47)
    operator = ct.projector(GRID, scan)
    clean = operator(truth)
    problems = [
        Problem(
            sinogram=clean
            + noise
            * torch.randn(
                clean.shape, generator=torch.Generator().manual_seed(k), dtype=clean.dtype
            ),
            noise_std=torch.full_like(clean, noise),
            projector=operator,
            grid=GRID,
            scan=scan,
        )
        for k in range(slices)
    ]
    return (
        tv_problem(problems, lengths=isotropic),
        fourier_metric(operator, GRID, scan, clean),
        truth,
    )


def _error(problem: TVProblem, metric: Metric, truth: torch.Tensor) -> float:
    found = minimise(problem, metric, start(problem, metric), tolerance=3e-3, max_iterations=2000)
    return float((found.images - truth).square().mean().sqrt())


@unchecked
@pytest.mark.parametrize(("views", "noise"), [(20, 0.3), (20, 2.0), (5, 0.5)])
def test_image_of_the_chosen_weight_is_nearly_the_best(views: int, noise: float) -> None:
    problem, metric, truth = _phantom(views, noise)
    chosen = choose_weights(problem, metric)
    errors = {
        factor: _error(dataclasses.replace(problem, weights=factor * chosen.weights), metric, truth)
        for factor in (0.2, 0.5, 1.0, 2.0, 5.0)
    }
    assert errors[1.0] < 1.12 * min(errors.values())
    assert errors[1.0] < errors[0.2]
    assert errors[1.0] < errors[5.0]


def test_wrong_noise_level_scales_the_weight_and_hardly_moves_the_image() -> None:
    problem, metric, _ = _phantom(12, 0.5)
    right = choose_weights(problem, metric)
    wrong = choose_weights(dataclasses.replace(problem, precision=problem.precision / 1.44), metric)
    # the weights tried differ, the parabola's minimum hardly
    torch.testing.assert_close(1.44 * wrong.weights, right.weights, rtol=0.15, atol=0)


@unchecked
def test_slices_are_searched_each_for_itself() -> None:
    problem, metric, _ = _phantom(12, 0.5, slices=3)
    scale = torch.tensor([1.0, 0.1, 3.0], dtype=torch.float64)[:, None, None]
    # slice 1 is nearly free of noise, slice 2 mostly noise
    noise = problem.sinograms - problem.sinograms.mean(dim=0)
    problem = dataclasses.replace(problem, sinograms=problem.sinograms[:1] + (scale - 1) * noise)
    together = choose_weights(problem, metric)
    for index in range(3):
        alone = choose_weights(problem.select(torch.tensor([index])), metric)
        torch.testing.assert_close(alone.weights[0], together.weights[index], rtol=1e-8, atol=0)
        assert alone.tried[0] == together.tried[index]
        torch.testing.assert_close(alone.state.image[0], together.state.image[index])


def test_values_of_missing_rays_do_not_matter() -> None:
    problem, metric, _ = _phantom(12, 0.5)
    precision = problem.precision.clone()
    precision[0, :, 20] = 0
    wild = problem.sinograms.clone()
    wild[0, :, 20] = 1e3
    first, second = (
        choose_weights(dataclasses.replace(problem, precision=precision, sinograms=values), metric)
        for values in (problem.sinograms, wild)
    )
    torch.testing.assert_close(first.weights, second.weights, rtol=1e-9, atol=0)


def test_search_finds_the_lowest_of_a_parabola_from_either_side() -> None:
    for origin in (-7.0, -0.2, 0.1, 2.5, 5.0):
        search = _Search(origin=origin)
        while not search.scores or not search.done:
            search.add(3 + (search.next - 0.3) ** 2)
            assert len(search.scores) < 30
        assert search.best == pytest.approx(0.3)


def test_search_stops_at_the_end_of_scores_that_only_fall() -> None:
    search = _Search(origin=0.0)
    for _ in range(5):
        search.add(search.next)
    assert not search.done
    assert search.best == pytest.approx(-4 * math.log(1.6))


def test_an_empty_scan_gets_a_finite_weight() -> None:
    problem, metric, _ = _phantom(12, 0.5)
    empty = dataclasses.replace(problem, sinograms=torch.zeros_like(problem.sinograms))
    weights = choose_weights(empty, metric).weights
    assert np.isfinite(float(weights))
    assert float(weights) > 0


@unchecked
def test_noise_is_not_fitted_where_held_out_views_say_nothing() -> None:
    # views at random would be predicted by no weight: their values are another image's
    problem, metric, _ = _phantom(12, 0.5)
    sinograms = problem.sinograms.clone()
    sinograms[:, 6] = 100.0  # the view that is held out
    chosen = choose_weights(dataclasses.replace(problem, sinograms=sinograms), metric)
    rest = problem.precision.clone()
    rest[:, 6] = 0
    fitted = dataclasses.replace(problem, precision=rest, weights=chosen.weights)
    found = minimise(fitted, metric, start(fitted, metric), tolerance=3e-3, max_iterations=1000)
    assert float(found.chi_squared) > 0.45 * float((rest > 0).sum())


def test_rays_through_air_do_not_decide_alone() -> None:
    # for a million photons beside the object, a thousand behind its middle
    problem, metric, truth = _phantom(20, 0.3)
    clean = problem.projector(truth)[None]
    noise_std = 0.01 * (3.5 * clean / clean.max()).exp()
    draws = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3)).to(clean)
    bright = dataclasses.replace(
        problem, sinograms=clean + noise_std * draws, precision=noise_std.square().reciprocal()
    )
    chosen = choose_weights(bright, metric).weights
    errors = []
    for factor in (0.1, 1.0, 10.0):
        weighted = dataclasses.replace(bright, weights=factor * chosen)
        found = minimise(
            weighted, metric, start(weighted, metric), tolerance=0.03, max_iterations=500
        )
        errors.append(float((found.images - truth).square().mean().sqrt()))
    assert errors[1] == min(errors)


@unchecked
@pytest.mark.parametrize(("views", "noise", "rim"), [(20, 0.02, 3.0), (40, 0.003, 0.0)])
def test_a_slow_iteration_is_not_taken_for_a_better_weight(
    views: int, noise: float, rim: float
) -> None:
    # hundreds of times the photons beside the object, and so many that the iteration takes long:
    # searched from below, weights a tenth of the best or less seemed best
    problem, metric, truth = _phantom(views, 0.3)
    radius = (GRID.x_positions.square() + GRID.y_positions.square()[:, None]).sqrt()
    truth = truth + rim * ((radius > 10) & (radius < 12.2))
    clean = problem.projector(truth)[None]
    noise_std = noise * (2.25 * clean / clean.max()).exp()
    draws = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3)).to(clean)
    bright = dataclasses.replace(
        problem, sinograms=clean + noise_std * draws, precision=noise_std.square().reciprocal()
    )
    chosen = choose_weights(bright, metric).weights
    errors = [
        _error(dataclasses.replace(bright, weights=factor * chosen), metric, truth)
        for factor in (0.1, 1.0, 10.0)
    ]
    assert errors[1] == min(errors)


def test_equal_rays_are_searched_from_where_their_number_says_unequal_ones_from_above() -> None:
    problem, _, _ = _phantom(12, 0.5, slices=2)
    precision = problem.precision.clone()
    precision[1, ::2] *= 16
    precision[1, :, 20] = 0  # missing rays do not count
    # mean precision 8.5, mean variance (1 + 1/16)/2: 4.5 = 1.6^3.2
    assert _steps_above(dataclasses.replace(problem, precision=precision)) == [0, 3]
    search = _Search(origin=0.0, first=3)
    tried = []
    while not search.scores or not search.done:
        tried.append(round(search.next / math.log(1.6)))
        search.add((search.next - 2.2) ** 2)  # lowest between 4 and 5 steps
    assert tried == [3, 4, 5, 6, 4]  # and the one below the best again


def test_a_score_taken_too_early_is_taken_again() -> None:
    search = _Search(origin=0.0, first=3)
    search.add(1e6)  # far from settled
    while not search.done:
        search.add((search.next - 0.9) ** 2)
    assert search.best == pytest.approx(0.9)
