import math

import pytest
import torch

import ct
from ct.classical.least_squares import LeastSquares, least_squares
from ct.classical.primal_dual_metric import fourier_metric
from ct.nonlocal_prior.data_step import data_step
from ct.problem import Problem

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


def test_the_data_step_solves_its_quadratic_problem():
    rays = _rays()
    metric = fourier_metric(rays.projector, GRID, SCAN, rays.sinograms)
    step = data_step(rays, metric.projection)
    guess = torch.randn(2, 12, 10, generator=torch.Generator().manual_seed(5)).double()
    weight = torch.tensor([0.7, 30.0], dtype=torch.float64)[:, None, None]
    found = step(guess, weight, 60)
    A = _matrix()
    for index in range(2):
        w = rays.precision[index].flatten()
        left = A.T @ (w[:, None] * A) + weight[index].item() * torch.eye(120).double()
        right = A.T @ (w * rays.sinograms[index].flatten())
        right += weight[index].item() * guess[index].flatten()
        assert torch.allclose(found[index].flatten(), torch.linalg.solve(left, right), atol=1e-8)


def test_the_noise_of_a_pixel_is_that_of_all_its_rays():
    rays = _rays()
    step = data_step(rays, fourier_metric(rays.projector, GRID, SCAN, rays.sinograms).projection)
    A = _matrix()
    for index in range(2):
        told = (rays.precision[index].flatten() @ A.square()).mean()
        # four random images stand for the trace
        assert float(step.pixel_std[index]) == pytest.approx(float(told.rsqrt()), rel=0.15)


def _scan(side, views):
    return ct.ParallelBeam(
        [k * math.pi / views for k in range(views)], n_detectors=math.ceil(1.42 * side)
    )


def test_it_is_more_accurate_than_total_variation_on_texture():
    side, views = 48, 30
    grid, scan = ct.ImageGrid((side, side)), _scan(48, 30)
    stripes = torch.arange(side) // 3 % 2
    truth = 0.5 + 0.2 * (stripes[:, None] ^ stripes).double()
    clean = ct.projector(grid, scan)(truth)
    noise = torch.randn(views, scan.n_detectors, generator=torch.Generator().manual_seed(0))
    problem = clean + 0.4 * noise.double()
    errors = {
        method.name: float(
            (ct.reconstruct(problem, scan, grid, method=method, noise_std=0.4).mean - truth)
            .square()
            .mean()
        )
        for method in (ct.bm3d(steps=8), ct.tv(tolerance=0.05))
    }
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
