from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct.classical.tv_differences import anisotropic, isotropic
from ct.classical.tv_objective import DualPoint, TVProblem, dual_bound, objective
from tests.reference.naive_total_variation import difference_matrix
from tests.reference.naive_total_variation import objective as naive_objective
from tests.reference.small_tomography import SmallScan, small_scan

SCAN = small_scan(missing=9)
ONES = SCAN.operator(torch.ones(SCAN.grid.shape, dtype=torch.float64))


def _random(scan: SmallScan, problem: TVProblem, seed: int, size: float) -> DualPoint:
    """Any dual point: q zero at missing rays, p within λ, m of a sign that the bounds allow."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(1, *shape, dtype=torch.float64, generator=generator)  # noqa: E731
    rays = size * draw(*scan.sinogram.shape) * (problem.precision > 0)
    field = draw(2, *scan.grid.shape)
    field *= (float(problem.weights) / problem.lengths(field)).clamp(max=1)
    bounds = size * draw(*scan.grid.shape) if problem.bounded else None
    if bounds is not None:
        bounds = bounds.clamp(
            min=-math.inf if problem.lower > -math.inf else 0,
            max=math.inf if problem.upper < math.inf else 0,
        )
    return DualPoint(rays=rays, field=field, bounds=bounds, backprojection=scan.operator.T(rays))


@pytest.mark.parametrize("lengths", [isotropic, anisotropic])
def test_objective_is_the_definition(lengths) -> None:
    image = torch.randn(1, *SCAN.grid.shape, dtype=torch.float64)
    value = objective(SCAN.problem(0.7, lengths), image, SCAN.operator(image))
    expected = naive_objective(
        SCAN.matrix,
        SCAN.sinogram.flatten().numpy(),
        SCAN.precision.flatten().numpy(),
        0.7,
        difference_matrix(*SCAN.grid.shape),
        image.flatten().numpy(),
        lengths.__name__,
    )
    assert float(value) == pytest.approx(expected, rel=1e-12)


@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1e-3, 0.3, 3.0, 100.0]),
    weight=st.sampled_from([1e-3, 0.5, 20.0, 1e4]),
    lengths=st.sampled_from([isotropic, anisotropic]),
    bounds=st.sampled_from([{}, {"lower": 0.0}, {"upper": 0.4}, {"lower": -0.2, "upper": 0.9}]),
    share=st.floats(0, 1),
)
def test_no_image_is_below_the_bound_of_any_dual_point(
    seed, size, weight, lengths, bounds, share
) -> None:
    problem = SCAN.problem(weight, lengths, **bounds)
    bound = float(dual_bound(problem, _random(SCAN, problem, seed, size), ONES))
    noise = torch.randn(
        1, *SCAN.grid.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    image = (share * SCAN.truth + (1 - share) * noise).clamp(problem.lower, problem.upper)
    assert bound <= float(objective(problem, image, SCAN.operator(image))) * (1 + 1e-12)


def test_bound_of_a_flat_optimum_is_tight() -> None:
    # under a great weight the best image is the constant c = ⟨A1, wy⟩/⟨A1, wA1⟩
    problem = SCAN.problem(1e6, isotropic)
    level = (ONES * SCAN.precision * SCAN.sinogram).sum() / (ONES.square() * SCAN.precision).sum()
    image = level * torch.ones(1, *SCAN.grid.shape, dtype=torch.float64)
    rays = problem.precision * (SCAN.operator(image) - problem.sinograms)
    point = DualPoint(
        rays=rays,
        field=torch.zeros(1, 2, *SCAN.grid.shape, dtype=torch.float64),
        bounds=None,
        backprojection=SCAN.operator.T(rays),
    )
    best = float(objective(problem, image, SCAN.operator(image)))
    assert float(dual_bound(problem, point, ONES)) == pytest.approx(best, rel=1e-10)


@given(seed=st.integers(0, 10**6), much=st.floats(-10, 10))
def test_bound_knows_nothing_of_what_the_mean_takes_from_the_rays(seed: int, much: float) -> None:
    problem = SCAN.problem(0.5, isotropic)
    point = _random(SCAN, problem, seed, 0.3)
    rays = point.rays + much * problem.precision * ONES
    moved = DualPoint(
        rays=rays, field=point.field, bounds=None, backprojection=SCAN.operator.T(rays)
    )
    expected = float(dual_bound(problem, point, ONES))
    assert float(dual_bound(problem, moved, ONES)) == pytest.approx(expected, rel=1e-7, abs=1e-9)
