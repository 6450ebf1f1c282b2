import dataclasses
import math

import pytest
import torch

import ct
from ct.classical.least_squares import LeastSquares, least_squares
from ct.classical.primal_dual_metric import fourier_metric
from ct.nonlocal_prior import bm3d
from ct.nonlocal_prior.data_step import data_step
from ct.nonlocal_prior.patch_prior import PatchPrior
from ct.problem import Problem
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

GRID = ct.ImageGrid((12, 10))
SCAN = ct.ParallelBeam([k * math.pi / 7 for k in range(7)], n_detectors=17)


def _rays(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sinograms = torch.randn(2, 7, 17, generator=generator, dtype=torch.float64)
    precision = torch.rand(2, 7, 17, generator=generator, dtype=torch.float64) + 0.5
    precision[1, 2, 3:9] = 0
    return LeastSquares(
        projector=ct.projector(GRID, SCAN), sinograms=sinograms, precision=precision
    )


def _matrix():
    units = torch.eye(120, dtype=torch.float64).reshape(120, 12, 10)
    return ct.projector(GRID, SCAN)(units).flatten(1).T


def _step(rays):
    return data_step(rays, fourier_metric(rays.projector, GRID, SCAN, rays.sinograms).projection)


@pytest.mark.parametrize("weight", [0.3, 20.0])
def test_the_data_step_solves_its_quadratic_problem(weight):
    rays = _rays()
    step = _step(rays)
    guess = torch.randn(2, 12, 10, generator=torch.Generator().manual_seed(5)).double()
    found = step(guess, weight, 60)
    A = _matrix()
    for index in range(2):
        w = rays.precision[index].flatten()
        prior = weight * step.told[index].flatten()
        left = A.T @ (w[:, None] * A) + prior.diag()
        right = A.T @ (w * rays.sinograms[index].flatten()) + prior * guess[index].flatten()
        assert torch.allclose(found[index].flatten(), torch.linalg.solve(left, right), atol=1e-8)


def test_eight_steps_are_enough_however_unequal_the_rays_are():
    rays = _rays()
    # a tenth of the noise in rays that pass the middle by
    uneven = rays.precision * torch.where((torch.arange(17) - 8).abs() > 3, 100.0, 1.0)
    step = _step(dataclasses.replace(rays, precision=uneven))
    guess = torch.zeros(2, 12, 10, dtype=torch.float64)
    exact = step(guess, 1.0, 200)
    assert float((step(guess, 1.0, 8) - exact).norm() / exact.norm()) < 0.02


def test_two_steps_are_enough_where_the_prior_weighs_most():
    # the inverse by which directions are preconditioned is then all but exact
    step = _step(_rays())
    guess = torch.zeros(2, 12, 10, dtype=torch.float64)
    exact = step(guess, 80.0, 100)
    assert float((step(guess, 80.0, 2) - exact).norm() / exact.norm()) < 0.002


def test_equal_rays_tell_the_same_of_each_pixel_that_they_reach_however_few_they_are():
    narrow = ct.ParallelBeam(SCAN.angles, n_detectors=8)
    projector = ct.projector(GRID, narrow)
    rays = LeastSquares(
        projector=projector,
        sinograms=torch.zeros(2, 7, 8, dtype=torch.float64),
        precision=torch.tensor([0.5, 3.0], dtype=torch.float64)[:, None, None].expand(2, 7, 8),
    )
    metric = fourier_metric(projector, GRID, narrow, rays.sinograms)
    step = data_step(rays, metric.projection)
    reached = projector.T(torch.ones(7, 8, dtype=torch.float64))
    assert 0 < 2 * float(reached.min()) < float(reached.max())
    for told, precision in zip(step.told, (0.5, 3.0), strict=True):
        assert torch.allclose(told, step.diagonal * precision)


def test_what_rays_tell_of_a_pixel_is_the_diagonal_of_the_normal_equations():
    rays = _rays()
    uneven = rays.precision * torch.linspace(0.1, 4.0, 17)
    step = _step(dataclasses.replace(rays, precision=uneven))
    A = _matrix()
    for index in range(2):
        told = uneven[index].flatten() @ A.square()
        ratio = step.told[index].flatten() / told
        # four random images stand for the trace; a pixel's rays differ in length
        assert 0.8 < float(ratio.mean()) < 1.25
        assert float(ratio.std()) < 0.2


def test_what_rays_tell_does_not_vanish_where_none_passes():
    rays = _rays()
    step = _step(dataclasses.replace(rays, precision=torch.zeros_like(rays.precision)))
    guess = torch.randn(2, 12, 10, generator=torch.Generator().manual_seed(5)).double()
    assert torch.equal(step(guess, 1.0, 4), guess)


def _scan(side, views):
    return ct.ParallelBeam(
        [k * math.pi / views for k in range(views)], n_detectors=math.ceil(1.42 * side)
    )


def _errors(truth, clean, std, grid, scan):
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    methods = {"bm3d": ct.bm3d(steps=8), "tv": ct.tv(tolerance=0.05)}
    found = {
        name: ct.reconstruct(clean + std * noise.double(), scan, grid, method=one, noise_std=std)
        for name, one in methods.items()
    }
    return {name: float((one.mean - truth).square().mean()) for name, one in found.items()}


@pytest.mark.parametrize("rays", ["equally noisy", "of few photons"])
def test_it_is_more_accurate_than_total_variation_on_texture(rays):
    grid, scan = ct.ImageGrid((48, 48)), _scan(48, 30)
    stripes = torch.arange(48) // 3 % 2
    truth = 0.5 + 0.2 * (stripes[:, None] ^ stripes).double()
    clean = ct.projector(grid, scan)(truth)
    std = torch.full_like(clean, 0.4)
    if rays == "of few photons":
        # through the thickest places one in four hundred comes out
        std = 0.03 * (6 * clean / clean.max()).exp().sqrt()
    errors = _errors(truth, clean, std, grid, scan)
    assert errors["bm3d"] < 0.5 * errors["tv"]


def test_rays_that_were_not_measured_do_not_count():
    sinogram = _rays().sinograms[0] + 3.0
    noise = torch.full((7, 17), 0.1, dtype=torch.float64)
    noise[3, 4:7] = math.inf
    found = [
        ct.reconstruct(values, SCAN, GRID, method=ct.bm3d(steps=3), noise_std=noise).mean
        for values in (sinogram, torch.where(noise.isinf(), 1e3, sinogram))
    ]
    assert torch.allclose(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_the_misfit_is_that_of_the_rays_that_were_measured_in_units_of_their_noise():
    sinogram = _rays().sinograms[0] + 3.0
    noise = torch.linspace(0.1, 0.4, 7 * 17, dtype=torch.float64).view(7, 17)
    noise[3, 4:7] = math.inf
    result = ct.reconstruct(sinogram, SCAN, GRID, method=ct.bm3d(steps=2), noise_std=noise)
    (said,) = result.metadata["diagnostics"]
    scores = (ct.projector(GRID, SCAN)(result.mean) - sinogram) / noise
    expected = float(scores[noise.isfinite()].square().mean())
    assert said["chi_squared_per_ray"] == pytest.approx(expected)


def test_the_noise_beside_the_images_is_the_rays_own_and_drawn_twice(monkeypatch):
    seen = []
    clean = PatchPrior.clean

    def recorded(self, images, noise, **settings):
        seen.append(noise)
        return clean(self, images, noise, **settings)

    monkeypatch.setattr(PatchPrior, "clean", recorded)
    sinogram, method = _rays().sinograms[0] + 3.0, ct.bm3d(steps=2)
    for std in (0.1, 0.2):
        ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=std)
    (one, other), twice = seen[0][:, 0], seen[2][:, 0]
    assert abs(float((one * other).mean())) < 0.5 * float(one.std() * other.std())
    assert torch.allclose(twice, 2 * seen[0][:, 0], rtol=1e-6)


def _problems():
    rays = _rays()
    sinograms = rays.sinograms + torch.tensor([3.0, 8.0])[:, None, None]
    return [
        Problem(
            sinogram=one,
            noise_std=std * weights.rsqrt(),
            projector=rays.projector,
            grid=GRID,
            scan=SCAN,
        )
        for one, std, weights in zip(sinograms, (0.1, 2.0), rays.precision, strict=True)
    ]


def test_slices_of_unequal_noise_come_out_of_a_stack_as_they_do_alone():
    problems, method = _problems(), ct.bm3d(steps=4, patch=4, group=4)
    for one, problem in zip(method.solve_slices(problems), problems, strict=True):
        assert torch.allclose(one.mean, method.solve(problem, seed=0).mean, rtol=1e-8, atol=1e-8)


def test_rays_of_noise_alone_are_as_noisy_as_those_measured_and_zero_where_none_was(monkeypatch):
    seen = []
    made = bm3d.data_step

    def recorded(rays, gram):
        seen.append(rays)
        return made(rays, gram)

    monkeypatch.setattr(bm3d, "data_step", recorded)
    problems = _problems()
    ct.bm3d(steps=2).solve_slices(problems)
    sinograms = seen[0].sinograms[len(problems) :].view(2, 2, 7, 17)
    for k, problem in enumerate(problems):
        measured = problem.noise_std.isfinite()
        scores = (sinograms[:, k] / problem.noise_std)[:, measured]
        assert float(scores.square().mean()) == pytest.approx(1, abs=0.3)
        assert not sinograms[:, k][:, ~measured].any()


def test_it_starts_from_total_variation_that_weighs_as_much_as_the_noise_of_a_pixel(monkeypatch):
    weights, images = [], []
    solved, clean = bm3d.minimise, PatchPrior.__init__

    def weighed(problem, *arguments, **limits):
        weights.append(problem.weights)
        found = solved(problem, *arguments, **limits)
        images.append(found.images)
        return found

    def first_image(self, like, **settings):
        images.append(like)
        clean(self, like, **settings)

    monkeypatch.setattr(bm3d, "minimise", weighed)
    monkeypatch.setattr(PatchPrior, "__init__", first_image)
    problems = _problems()
    ct.bm3d(steps=2).solve_slices(problems)
    for weight, problem in zip(weights[0], problems, strict=True):
        told = problem.noise_std.square().reciprocal().flatten() @ _matrix().square()
        assert float(weight) == pytest.approx(1.25 * float(told.mean().sqrt()), rel=0.15)
    assert torch.equal(images[0], images[1])


def test_the_image_is_the_last_that_was_cleaned_after_all_steps(monkeypatch):
    cleaned, strengths, done = [], [], []
    clean = PatchPrior.clean

    def recorded(self, images, noise, *, strength, match):
        strengths.append(strength)
        cleaned.append(clean(self, images, noise, strength=strength, match=match))
        return cleaned[-1]

    monkeypatch.setattr(PatchPrior, "clean", recorded)
    problems = _problems()
    found = ct.bm3d(steps=3, strength=1.7).solve_slices(
        problems, progress=lambda *counts: done.append(counts)
    )
    assert strengths == [1.7] * 3
    assert torch.equal(torch.stack([one.mean for one in found]), cleaned[-1])
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_where_no_ray_passes_the_guess_weighs_a_fiftieth_of_its_usual_weight():
    rays = _rays()
    one_ray = torch.zeros_like(rays.precision)
    one_ray[:, 0, 8] = 1.0
    told = _step(dataclasses.replace(rays, precision=one_ray)).told
    # the usual weight is the mean without this floor, which raises it by a fiftieth itself
    assert torch.allclose(told.amin((1, 2)), told.mean((1, 2)) / 51, rtol=0.01)


@pytest.mark.parametrize("saves", [1, 2, 3, 4])
def test_it_goes_on_from_any_step_to_the_same_bits(saves):
    rays = _rays()
    sinogram, noise_std = rays.sinograms[0], rays.precision[0].rsqrt()
    problem = Problem(
        sinogram=sinogram, noise_std=noise_std, projector=rays.projector, grid=GRID, scan=SCAN
    )
    method = ct.bm3d(steps=5, patch=4, group=4, reach=3, stride=2)
    place = MemoryCheckpoint(stop_after=saves)
    broken = dataclasses.replace(problem, checkpoint=place)
    with pytest.raises(InterruptionError):
        method.solve(broken, seed=0)
    place.left = None
    reported = []
    found = method.solve(broken, seed=0, progress=lambda *step: reported.append(step))
    assert torch.equal(found.mean, method.solve(problem, seed=0).mean)
    assert reported == [(done, 6) for done in range(1 + saves, 7)]


def test_a_slice_without_a_measured_ray_is_refused():
    problem = Problem(
        sinogram=torch.ones(7, 17),
        noise_std=torch.full((7, 17), math.inf),
        projector=ct.projector(GRID, SCAN),
        grid=GRID,
        scan=SCAN,
    )
    assert int(least_squares([problem]).n_rays) == 1
    with pytest.raises(ValueError, match="expected a finite value at one ray"):
        ct.bm3d().solve(problem, seed=0)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"group": 12}, "power of two"),
        ({"stride": 9}, "at most patch"),
        ({"steps": 1}, "steps"),
        ({"strength": 0.0}, "strength"),
        ({"strength": math.nan}, "strength"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        ct.bm3d(**settings)
