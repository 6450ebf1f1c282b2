from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ct.classical.primal_dual import Minimum, minimise, start
from ct.classical.primal_dual_metric import Metric
from ct.classical.tv_differences import anisotropic, isotropic
from ct.classical.tv_objective import TVProblem
from ct.projectors.operator import Projector
from tests.reference import naive_total_variation as naive
from tests.reference.small_tomography import SmallScan, small_scan

# thousands of small steps: checks of shapes would take as long as the steps; other tests have them
unchecked = pytest.mark.usefixtures("as_users_run")
SCAN = small_scan()
METRIC = SCAN.metric
GAPPY = small_scan(missing=20)


def _solve(problem: TVProblem, metric: Metric, tolerance: float = 1e-7) -> Minimum:
    return minimise(
        problem, metric, start(problem, metric), tolerance=tolerance, max_iterations=20000
    )


def _arrays(scan: SmallScan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return scan.matrix, scan.sinogram.flatten().numpy(), scan.precision.flatten().numpy()


@unchecked
@pytest.mark.parametrize("weight", [0.3, 2.0, 30.0])
def test_anisotropic_minimum_is_that_of_the_dual_quadratic_program(weight: float) -> None:
    D = naive.difference_matrix(*SCAN.grid.shape)
    best = naive.anisotropic_minimum(*_arrays(SCAN), weight, D)
    found = _solve(SCAN.problem(weight, anisotropic), METRIC)
    value = naive.objective(*_arrays(SCAN), weight, D, best, "anisotropic")
    assert float(found.objective) == pytest.approx(value, rel=2e-7)
    torch.testing.assert_close(found.images.flatten().numpy(), best, atol=3e-3, rtol=0)


@unchecked
@pytest.mark.parametrize(
    "bounds", [{}, {"lower": 0.0}, {"upper": 0.6}, {"lower": 0.1, "upper": 0.8}]
)
def test_isotropic_minimum_is_that_of_a_textbook(bounds: dict[str, float]) -> None:
    D = naive.difference_matrix(*GAPPY.grid.shape)
    best = naive.primal_dual_minimum(*_arrays(GAPPY), 2.0, D, norm="isotropic", **bounds)
    value = naive.objective(*_arrays(GAPPY), 2.0, D, best, "isotropic")
    found = _solve(GAPPY.problem(2.0, isotropic, **bounds), GAPPY.metric)
    assert float(found.objective) == pytest.approx(value, rel=2e-7)
    torch.testing.assert_close(found.images.flatten().numpy(), best, atol=3e-3, rtol=0)
    assert float(found.images.min()) >= bounds.get("lower", -math.inf)
    assert float(found.images.max()) <= bounds.get("upper", math.inf)


@unchecked
@pytest.mark.parametrize(
    ("lengths", "bounds"), [(isotropic, {"lower": 0.0, "upper": 0.9}), (anisotropic, {})]
)
def test_gap_is_never_less_than_the_distance_to_the_optimum(lengths, bounds) -> None:
    problem = GAPPY.problem(2.0, lengths, **bounds)
    metric = GAPPY.metric
    best = float(_solve(problem, metric, 1e-7).objective)
    gaps = []
    for iterations in (10, 30, 90, 270):
        found = minimise(
            problem, metric, start(problem, metric), tolerance=1e-13, max_iterations=iterations
        )
        assert int(found.iterations) == iterations
        gaps.append(float(found.gap))
        assert gaps[-1] >= float(found.objective) - best - 1e-7 * best
    assert gaps[0] > 1e-2 * best
    assert gaps[-1] < 1e-3 * best


def _identity(shape: tuple[int, int]) -> tuple[Projector, Metric]:
    """A = 1, so that total variation denoises: signals with known answers."""
    operator = Projector(
        domain_shape=shape, range_shape=shape, forward=Tensor.clone, adjoint=Tensor.clone
    )
    rows, columns = shape
    squares = [2 - 2 * torch.cos(2 * math.pi * torch.arange(n).double() / n) for n in shape]
    return operator, Metric(
        projection=torch.ones(rows, columns // 2 + 1, dtype=torch.float64),
        difference=squares[0][:, None] + squares[1][: columns // 2 + 1],
        ones_projection=torch.ones(shape, dtype=torch.float64),
    )


@unchecked
@pytest.mark.parametrize("lengths", [isotropic, anisotropic])
@pytest.mark.parametrize(("weight", "levels"), [(1.5, (1.5 / 4, 3 - 1.5 / 6)), (50.0, (1.8, 1.8))])
def test_two_levels_come_nearer_until_they_meet(lengths, weight, levels) -> None:
    # a step of a 1-D signal: each side moves by λ over its length (taut string)
    signal = torch.tensor([[0.0] * 4 + [3.0] * 6], dtype=torch.float64)
    operator, metric = _identity((1, 10))
    problem = TVProblem(
        projector=operator,
        sinograms=signal[None],
        precision=torch.ones(1, 1, 10, dtype=torch.float64),
        weights=torch.tensor([weight], dtype=torch.float64),
        lengths=lengths,
    )
    expected = torch.tensor([[levels[0]] * 4 + [levels[1]] * 6], dtype=torch.float64)
    torch.testing.assert_close(_solve(problem, metric, 1e-9).images[0], expected, atol=1e-3, rtol=0)


@unchecked
def test_great_weight_gives_the_constant_of_least_squares() -> None:
    ones = GAPPY.metric.ones_projection
    level = float(
        (ones * GAPPY.precision * GAPPY.sinogram).sum() / (ones.square() * GAPPY.precision).sum()
    )
    found = _solve(GAPPY.problem(1e5, isotropic), GAPPY.metric)
    torch.testing.assert_close(
        found.images[0], torch.full(GAPPY.grid.shape, level, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_slices_stop_each_at_its_own_time_and_keep_their_places() -> None:
    one = SCAN.problem(1.0, isotropic)
    weights = torch.tensor([0.3, 3.0, 1.0], dtype=torch.float64)
    three = TVProblem(
        projector=one.projector,
        sinograms=one.sinograms * torch.tensor([1.0, -1.0, 2.0]).double()[:, None, None],
        precision=one.precision.expand(3, -1, -1),
        weights=weights,
        lengths=isotropic,
    )
    together = _solve(three, METRIC, 1e-3)
    assert len(set(together.iterations.tolist())) > 1
    assert bool((together.relative_gap <= 1e-3).all())
    for index in range(3):
        alone = _solve(three.select(torch.tensor([index])), METRIC, 1e-3)
        assert int(alone.iterations) == int(together.iterations[index])
        torch.testing.assert_close(alone.images[0], together.images[index])


def test_single_precision_reaches_a_small_gap() -> None:
    metric = METRIC
    single = Metric(**{name: value.float() for name, value in vars(metric).items()})
    problem = SCAN.problem(2.0, isotropic)
    found = minimise(
        low := TVProblem(
            projector=problem.projector,
            sinograms=problem.sinograms.float(),
            precision=problem.precision.float(),
            weights=problem.weights,
            lengths=isotropic,
        ),
        single,
        start(low, single),
        tolerance=1e-4,
        max_iterations=3000,
    )
    assert float(found.relative_gap) <= 1e-4
    best = float(_solve(problem, metric).objective)
    assert float(found.objective) == pytest.approx(best, rel=2e-4)


def test_progress_never_falls_and_ends_at_one() -> None:
    shares: list[float] = []
    problem = SCAN.problem(1.0, isotropic)
    minimise(
        problem,
        METRIC,
        start(problem, METRIC),
        tolerance=1e-4,
        max_iterations=3000,
        report=shares.append,
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) > 3
