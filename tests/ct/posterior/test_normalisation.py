import math

import pytest
import torch

import ct
from ct.posterior.normalisation import value_range
from ct.problem import Problem

GRID = ct.ImageGrid((24, 20), pixel_size=0.5)
SCAN = ct.ParallelBeam([k * math.pi / 30 for k in range(30)], n_detectors=36, detector_spacing=0.5)


def _image(low: float, high: float) -> torch.Tensor:
    x, y = GRID.x_positions, GRID.y_positions[:, None]
    return torch.where(x**2 + y**2 < 12, high, low).double()


def _problem(image: torch.Tensor, noise_std: float = 1e-5) -> Problem:
    operator = ct.projector(GRID, SCAN)
    sinogram = operator(image)
    return Problem(
        sinogram=sinogram,
        noise_std=torch.full_like(sinogram, noise_std),
        projector=operator,
        grid=GRID,
        scan=SCAN,
    )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1000, 1200), (0.0, 2e-4), (-3.0, -2.0)])
def test_the_range_is_about_the_images(low, high):
    values = value_range(_problem(_image(low, high)))
    width = high - low
    assert values.offset == pytest.approx(low, abs=0.3 * width)
    assert values.scale == pytest.approx(width, rel=0.5)


def test_the_level_is_the_constant_that_fits_best():
    image = torch.full(GRID.shape, 7.0, dtype=torch.float64)
    image[3:9, 4:9] += 2
    problem = _problem(image)
    values = value_range(problem)

    def misfit(u: float) -> float:
        constant = values.to_image(torch.full(GRID.shape, u, dtype=torch.float64))
        return float((problem.projector(constant) - problem.sinogram).square().sum())

    assert misfit(values.level) < min(misfit(values.level - 1e-3), misfit(values.level + 1e-3))


def test_the_normalised_problem_is_the_same_problem():
    problem = _problem(_image(-1000, 1200))
    values = value_range(problem)
    u = torch.rand(GRID.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normalised = values.normalised(problem)
    for one, image in ((normalised, u), (problem, values.to_image(u))):
        residual = (one.projector(image) - one.sinogram) / one.noise_std
        if one is normalised:
            expected = residual
    assert torch.allclose(residual, expected, rtol=1e-9, atol=1e-6)


def test_an_empty_scan_has_the_scale_of_its_noise():
    values = value_range(_problem(torch.zeros(GRID.shape, dtype=torch.float64), noise_std=0.1))
    assert values.scale == pytest.approx(0.1 / 12)
    assert values.offset == 0


def test_a_lowest_value_that_is_known_is_the_offset():
    problem = _problem(_image(0.2, 1.0))
    free, known = value_range(problem), value_range(problem, lowest=0.0)
    assert known.offset == 0
    assert abs(known.offset + known.scale - free.offset - free.scale) < 1e-9
