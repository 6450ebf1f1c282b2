import dataclasses
import math

import pytest
import torch

import ct
from ct.posterior.held_out_views import held_out_mask, solve_with_held_out_scale, spread_scale
from ct.problem import Estimate, Problem


def _exact_samples(problem: Problem, seed: int, *, shrink: float) -> Estimate:
    """Samples of the exact posterior under x ~ N(0, I), their spread divided by `shrink`."""
    n = math.prod(problem.grid.shape)
    identity = torch.eye(n, dtype=torch.float64).reshape(n, *problem.grid.shape)
    a = problem.projector(identity).reshape(n, -1).T
    noise = problem.noise_std.flatten().square()
    covariance = torch.linalg.inv(a.T @ (a / noise[:, None]) + torch.eye(n, dtype=torch.float64))
    mean = covariance @ (a.T @ (problem.sinogram.flatten() / noise))
    generator = torch.Generator().manual_seed(seed % 2**31)
    z = torch.randn(400, n, dtype=torch.float64, generator=generator)
    samples = mean + z @ torch.linalg.cholesky(covariance).T / shrink
    samples = samples.reshape(-1, *problem.grid.shape)
    return Estimate(
        mean=mean.reshape(problem.grid.shape),
        std=samples.std(0),
        samples=samples if problem.keep_samples else None,
    )


def _gaussian_problem(seed: int, *, keep_samples: bool = False) -> tuple[Problem, torch.Tensor]:
    grid = ct.ImageGrid((12, 12))
    scan = ct.ParallelBeam([k * math.pi / 20 for k in range(20)], n_detectors=17)
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(12, 12, dtype=torch.float64, generator=generator)
    A = ct.projector(grid, scan)
    noise = torch.randn(20, 17, dtype=torch.float64, generator=generator)
    problem = Problem(
        sinogram=A(truth) + noise,
        noise_std=torch.ones(20, 17, dtype=torch.float64),
        projector=A,
        grid=grid,
        scan=scan,
        keep_samples=keep_samples,
    )
    return problem, truth


@pytest.mark.parametrize("shrink", [1.0, 2.0, 5.0])
def test_the_exact_posterior_keeps_its_spread_and_a_shrunk_one_gets_it_back(shrink):
    factors, errors = [], []
    for seed in range(8):
        problem, truth = _gaussian_problem(seed)
        estimate = solve_with_held_out_scale(
            lambda p, s, _: _exact_samples(p, s, shrink=shrink),
            problem, share=0.2, seed=seed, progress=None,
        )  # fmt: skip
        factors.append(estimate.diagnostics["std_scale"])
        errors.append(((estimate.mean - truth) / estimate.std).square().mean())
    # 8 problems of 68 rays each: the scale is known to about 1/√(2·544), the floor of 1 adds more
    assert sum(factors) / 8 == pytest.approx(shrink, rel=0.2)
    assert float(torch.stack(errors).mean().sqrt()) == pytest.approx(1.0, abs=0.2)


def test_held_out_views_never_reach_the_first_fit_and_all_reach_the_second():
    problem, _ = _gaussian_problem(0)
    held = held_out_mask(20, 0.2)
    seen: list[Problem] = []

    def solve(given: Problem, seed: int, _: object) -> Estimate:
        seen.append(given)
        return _exact_samples(given, seed, shrink=1.0)

    solve_with_held_out_scale(solve, problem, share=0.2, seed=0, progress=None)
    first, second = seen
    assert second is problem
    assert torch.equal(first.sinogram, problem.sinogram[~held])
    assert first.scan.angles == tuple(
        angle for angle, out in zip(problem.scan.angles, held.tolist(), strict=True) if not out
    )
    assert (first.projector.range_shape, first.keep_samples) == ((16, 17), True)


def test_samples_are_scaled_with_the_standard_deviation():
    problem, _ = _gaussian_problem(3, keep_samples=True)
    estimate = solve_with_held_out_scale(
        lambda p, s, _: _exact_samples(p, s, shrink=4.0),
        problem, share=0.2, seed=0, progress=None,
    )  # fmt: skip
    assert estimate.samples is not None
    assert estimate.std is not None
    assert float(estimate.diagnostics["std_scale"]) > 2
    assert torch.allclose(estimate.samples.std(0), estimate.std)
    assert estimate.calibration == "one scale from held-out views (4 of 20)"


def test_without_a_view_to_spare_nothing_is_scaled():
    problem, _ = _gaussian_problem(0)
    given = solve_with_held_out_scale(
        lambda p, s, _: _exact_samples(p, s, shrink=3.0),
        problem, share=0.02, seed=5, progress=None,
    )  # fmt: skip
    plain = _exact_samples(problem, 5, shrink=3.0)
    assert given.calibration == "none"
    assert torch.equal(given.std, plain.std)


def test_the_scale_solves_its_equation_and_never_shrinks():
    generator = torch.Generator().manual_seed(0)
    residual = 3 * torch.randn(200, generator=generator)
    spread, noise = torch.rand(2, 200, generator=generator)
    scale = spread_scale(residual, spread, noise)
    assert float((residual**2 / (scale**2 * spread + noise)).mean()) == pytest.approx(1, rel=1e-5)
    assert spread_scale(0.01 * residual, spread, noise) == pytest.approx(1)


@pytest.mark.parametrize("n_views", [1, 7, 60, 181])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_held_out_views_are_counted_and_spread(n_views, share):
    mask = held_out_mask(n_views, share)
    assert int(mask.sum()) == round(share * n_views)
    places = mask.nonzero().flatten()
    if len(places) > 1:
        gaps = places.diff()
        assert int(gaps.max() - gaps.min()) <= 1


def test_progress_counts_both_fits():
    calls: list[tuple[int, int]] = []
    problem, _ = _gaussian_problem(0)

    def solve(given: Problem, seed: int, progress: ct.problem.Progress | None) -> Estimate:
        for step in (1, 2):
            progress(step, 2)
        return _exact_samples(given, seed, shrink=1.0)

    solve_with_held_out_scale(
        solve, problem, share=0.2, seed=0, progress=lambda d, t: calls.append((d, t))
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _narrow_arc(problem: Problem) -> Problem:
    scan = ct.ParallelBeam([k * math.pi / 60 for k in range(20)], n_detectors=17)
    return dataclasses.replace(problem, scan=scan, projector=ct.projector(problem.grid, scan))


def test_directions_that_no_view_sees_are_named():
    problem = _narrow_arc(_gaussian_problem(0)[0])
    estimate = solve_with_held_out_scale(
        lambda p, s, _: _exact_samples(p, s, shrink=1.0),
        problem, share=0.2, seed=0, progress=None,
    )  # fmt: skip
    assert estimate.calibration.startswith("one scale from held-out views (4 of 20); blind to")
    assert estimate.calibration.endswith("57° to 180°")


@pytest.mark.parametrize("shrink", [1.0, 5.0])
def test_scaled_intervals_cover_other_held_out_views(shrink):
    covered = []
    for seed in range(6):
        problem, _ = _gaussian_problem(seed)
        estimate = solve_with_held_out_scale(
            lambda p, s, _: _exact_samples(p, s, shrink=shrink),
            problem, share=0.3, seed=seed, progress=None,
        )  # fmt: skip
        assert estimate.held_out_coverage is not None
        covered.append([estimate.held_out_coverage[level] for level in (0.5, 0.95)])
    half, most = torch.tensor(covered).mean(0).tolist()
    assert half == pytest.approx(0.52, abs=0.08)  # the wider of two half widths
    assert most == pytest.approx(0.95, abs=0.03)


def test_heavy_tails_of_held_out_rays_widen_the_intervals_of_high_levels():
    problem, _ = _gaussian_problem(0)
    held = held_out_mask(20, 0.3)
    wild = problem.sinogram.clone()
    wild[held, ::8] += 25.0  # an eighth of the rays
    widths = []
    for sinogram in (problem.sinogram, wild):
        estimate = solve_with_held_out_scale(
            lambda p, s, _: _exact_samples(p, s, shrink=1.0),
            dataclasses.replace(problem, sinogram=sinogram), share=0.3, seed=0, progress=None,
        )  # fmt: skip
        assert estimate.half_widths is not None
        assert estimate.half_widths[0.5] == pytest.approx(0.675, abs=0.1)
        widths.append(estimate.half_widths[0.95])
    assert widths[0] == pytest.approx(1.97, abs=0.15)
    assert widths[1] > 2.4
