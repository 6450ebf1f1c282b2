"""Which image predicts which ray, and what the method behind the default makes of that."""

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch

import ct
from ct.half_width import LEVELS
from ct.posterior import jackknife as module
from ct.posterior.detail_parts import detail_parts
from ct.posterior.held_out_coverage import held_out_coverage
from ct.posterior.known_scan import neighbours
from ct.posterior.missing_detail import BeyondKnown, HeldOutRays
from ct.posterior.view_folds import turned, view_folds
from ct.problem import Estimate, Problem, Progress, Setting

GRID = ct.ImageGrid((10, 12))
SCAN = ct.ParallelBeam([k * 0.4 for k in (0, 3, 1, 5, 2, 4, 6)], n_detectors=17)
FOLDS = view_folds(SCAN, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Numbered:
    """Images of one value: 100 from all views, the fold's number without that; 10 more if known.

    Attributes:
        broken: the fold of the known scan that diverges; -1 for none.
    """

    broken: int = -1
    name: str = "numbered"
    n_samples: int | None = None

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        raise AssertionError

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        found = []
        for problem in problems:
            lacking = FOLDS[problem.noise_std.isinf().all(1)]
            value = float(lacking[0]) if len(lacking) else 100.0
            if problem.scan != SCAN:
                value = math.nan if value == self.broken else value + 10
            found.append(Estimate(mean=torch.full(GRID.shape, value, dtype=torch.float64)))
        return found


def _problem() -> Problem:
    noise_std = torch.rand(7, 17, generator=torch.Generator().manual_seed(0)).double() + 0.5
    noise_std[2, 8] = math.inf
    return Problem(
        sinogram=1000 + noise_std.nan_to_num(posinf=0.0),
        noise_std=noise_std,
        projector=ct.projector(GRID, SCAN),
        grid=GRID,
        scan=SCAN,
        keep_samples=True,
    )


def _solved(
    monkeypatch: pytest.MonkeyPatch,
    *,
    broken: int = -1,
    seed: int = 0,
    scale: float = 1.0,
    detail: tuple[float, ...] = (4.0, 5.0, 9.0, 3.0),
) -> tuple[Problem, Estimate, dict[str, object]]:
    """Return an estimate, and what its rays and its samples' gain were made of."""
    seen: dict[str, object] = {}
    gain = module.known_gain

    def amounts(rays: HeldOutRays, *_: object, **named: object) -> BeyondKnown:
        seen["rays"] = rays
        seen.update(named)
        return BeyondKnown(scale=scale, detail=torch.tensor(detail, dtype=torch.float64))

    def recorded_gain(error: torch.Tensor, images: torch.Tensor) -> object:
        seen["error"], seen["images"] = error, images
        return gain(error, images)

    monkeypatch.setattr(module, "missing_detail", amounts)
    monkeypatch.setattr(module, "known_gain", recorded_gain)
    problem = _problem()
    method = ct.jackknife(mean=_Numbered(broken=broken), n_folds=3, n_samples=3)
    return problem, method.solve(problem, seed=seed), seen


def test_each_ray_is_predicted_by_the_image_that_has_not_seen_it(monkeypatch):
    problem, _, seen = _solved(monkeypatch)
    rays = seen["rays"]
    assert isinstance(rays, HeldOutRays)
    lengths = problem.projector(torch.ones(GRID.shape, dtype=torch.float64))
    measured = problem.noise_std.isfinite()
    assert torch.equal(rays.measured, measured)
    residual = problem.sinogram - FOLDS[:, None] * lengths
    assert torch.allclose(rays.residual[measured], residual[measured])
    assert torch.allclose(rays.noise_variance[measured], problem.noise_std[measured] ** 2)
    for values in (rays.residual, rays.noise_variance):
        assert bool((values[~measured] == 0).all())


def test_what_was_to_be_expected_of_a_ray_is_the_error_of_the_turned_views_beside_it(monkeypatch):
    _, _, seen = _solved(monkeypatch)
    rays = seen["rays"]
    assert isinstance(rays, HeldOutRays)
    lengths = ct.projector(GRID, turned(SCAN))(torch.ones(GRID.shape, dtype=torch.float64))
    for side, beside in zip(rays.predictable, neighbours(SCAN), strict=True):
        # the known image is 100 everywhere; without a fold it came back as its number and ten
        expected = (100 - 10 - FOLDS[beside])[:, None] * lengths[beside]
        assert torch.allclose(side, expected)


def test_rays_beside_a_fold_that_diverged_are_left_out(monkeypatch):
    problem, _, seen = _solved(monkeypatch, broken=1)
    rays = seen["rays"]
    assert isinstance(rays, HeldOutRays)
    views = (FOLDS[neighbours(SCAN)] != 1).all(0)
    assert int(views.sum()) == 3
    assert torch.equal(rays.measured, problem.noise_std.isfinite() & views[:, None])


def test_samples_are_made_of_the_measured_scans_folds_and_detail_as_fine_as_its_rays(monkeypatch):
    seen: dict[str, object] = {}
    parts, decay = module.error_parts, module.detail_spectrum

    def recorded_parts(std: torch.Tensor, images: torch.Tensor, gain: object) -> object:
        seen["images"], seen["parts"] = images, parts(std, images, gain)
        return seen["parts"]

    def recorded_decay(rays: HeldOutRays, explained: float, *rest: object) -> float:
        seen["explained"] = explained
        return decay(rays, explained, *rest)

    monkeypatch.setattr(module, "error_parts", recorded_parts)
    monkeypatch.setattr(module, "detail_spectrum", recorded_decay)
    _solved(monkeypatch)
    assert [float(one[0, 0]) for one in seen["images"]] == [0, 1, 2]
    assert seen["explained"] == seen["parts"].explained


def test_errors_that_are_all_larger_have_the_same_half_widths_over_their_deviation(monkeypatch):
    _, one, _ = _solved(monkeypatch, detail=(0.0,) * 4)
    _, other, _ = _solved(monkeypatch, scale=4.0, detail=(0.0,) * 4)
    assert torch.allclose(other.std, 2 * one.std)
    assert other.half_widths == pytest.approx(one.half_widths)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_known_errors_are_scaled_and_detail_is_added_of_edges_a_quarter(monkeypatch, scale):
    problem, estimate, seen = _solved(monkeypatch, scale=scale)
    assert torch.equal(seen["error"], torch.full(GRID.shape, 10.0).double())
    assert [float(one[0, 0]) for one in seen["images"]] == [10, 11, 12]
    # an image of one value is half body, half not, errs alike everywhere, and has no rim
    half = torch.full(GRID.shape, 0.5, dtype=torch.float64)
    noise, measured = problem.noise_std.square(), problem.noise_std.isfinite()
    parts = detail_parts(torch.ones_like(half), half, noise, measured, problem.projector)
    assert torch.equal(seen["along_rays"], parts.along_rays)
    whole = scale + 4 / 2 + 9 * parts.variances[2] + 3 / 4
    said = estimate.diagnostics
    assert said["error_scale"] == pytest.approx(scale**0.5)
    assert said["missing_detail_over_error"] == pytest.approx(0.75**0.5)
    for name, amount in (("body", 4), ("rim", 5), ("outside", 9)):
        unit = said[f"missing_detail_std_{name}"] ** 2 / amount
        assert torch.allclose(estimate.std.square(), unit * whole)


def test_another_seed_draws_other_samples(monkeypatch):
    one, other = (_solved(monkeypatch, seed=seed)[1] for seed in (0, 1))
    scores = [(each.samples - each.mean) / each.std for each in (one, other)]
    assert float((scores[0] - scores[1]).abs().mean()) > 0.5


def test_half_widths_of_missing_detail_are_students():
    zero = torch.zeros(300, 300, dtype=torch.float64)
    one = torch.ones_like(zero)
    # Student's t with 6 degrees of freedom has a variance of 3/2
    alone = module._half_widths(zero, zero, one, seed=1)
    for level, quantile in ((0.5, 0.7176), (0.95, 2.4469), (0.99, 3.7074)):
        assert alone[level] == pytest.approx(quantile / 1.5**0.5, rel=0.02)
    beside = module._half_widths(zero, 3 * one, one, seed=1)
    assert beside[0.9] == pytest.approx(alone[0.9] / 2)
    known = module._half_widths(2 * one, one, 0 * one, seed=1)
    assert known[0.5] == pytest.approx(2)


def _coverage(scales: torch.Tensor, *, measured: torch.Tensor | bool = True) -> dict[float, float]:
    """Return the coverage of normal errors whose variance is that many times each path."""
    scan = ct.ParallelBeam([k * math.pi / 150 for k in range(150)], n_detectors=13)
    A = ct.projector(GRID, scan)
    body = torch.ones(GRID.shape, dtype=torch.float64)
    body[:, :6] = 0
    normal = torch.randn(150, 13, generator=torch.Generator().manual_seed(0)).double()
    paths = A(torch.stack([body, 1 - body]))
    there = (paths.sum(0) > 0.5) & measured
    rays = HeldOutRays(
        residual=torch.where(there, (paths * scales.double()).sum(0).sqrt() * normal, 0.0),
        noise_variance=torch.where(there, 1e-6, 0.0).double(),
        measured=there,
        predictable=torch.zeros(2, 150, 13, dtype=torch.float64),
    )
    return held_out_coverage(rays, body, A, torch.arange(150) % 4, LEVELS)


def test_rays_are_judged_by_what_was_learnt_from_others():
    # ten times the errors in every other fold: those of the quiet ones all lie within intervals
    covered = _coverage(torch.where(torch.arange(150) % 2 == 0, 1.0, 100.0)[:, None])
    normal = torch.distributions.Normal(0.0, 1.0)
    for level in (0.5, 0.95):
        width = normal.icdf(torch.tensor(0.5 + level / 2))
        of_loud, of_quiet = (float(2 * normal.cdf(width * one) - 1) for one in (0.1, 10.0))
        assert covered[level] == pytest.approx((of_loud + of_quiet) / 2, abs=0.03)


def test_errors_inside_and_outside_the_body_are_told_apart():
    covered = _coverage(torch.tensor([0.1, 300.0])[:, None, None])
    for level in (0.5, 0.8, 0.95):
        assert covered[level] == pytest.approx(level, abs=0.03)


def test_rays_that_were_not_measured_are_not_judged():
    half = torch.rand(150, 13, generator=torch.Generator().manual_seed(1)) > 0.5
    covered = _coverage(torch.ones(2, 1, 1), measured=half)
    for level in (0.5, 0.8, 0.95):
        assert covered[level] == pytest.approx(level, abs=0.05)
