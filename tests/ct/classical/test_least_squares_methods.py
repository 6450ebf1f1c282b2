"""SIRT and CGLS: where they go, how they get there, and where they stop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import lsqr
from torch import Tensor

import ct
from ct.classical.cgls import cgls_iterates
from ct.classical.least_squares import LeastSquares
from ct.classical.sirt import sirt_iterates, sirt_weights
from ct.classical.stopping import Iterate, estimates_after, estimates_at_noise_level
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.problem import Problem
from ct.projectors.operator import projector
from tests.reference.gaussian_phantom import GaussianBlob

GRID = ImageGrid((4, 5), pixel_size=0.8)
PARALLEL = ParallelBeam(np.arange(9) * math.pi / 9, n_detectors=13, detector_spacing=0.5)
FAN = FanBeam(
    np.arange(9) * 2 * math.pi / 9, 13, source_origin=20.0, source_detector=30.0,
    detector_spacing=0.7, source_offset=0.3, curved=True,
)  # fmt: skip
every_scan = pytest.mark.parametrize("scan", [PARALLEL, FAN], ids=["parallel", "fan"])


def _problem(scan: Scan, seed: int = 0, n_slices: int = 2, grid: ImageGrid = GRID) -> LeastSquares:
    """Random values, noise that differs from ray to ray, and rays that were not measured."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_slices, scan.n_views, scan.n_detectors)
    precision = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.2
    precision[:, 3, 2:5] = 0
    precision[0, 6] = 0
    return LeastSquares(
        projector=projector(grid, scan),
        sinograms=torch.randn(shape, generator=generator, dtype=torch.float64),
        precision=precision,
    )


def _matrix(problem: LeastSquares) -> Tensor:
    n = math.prod(problem.projector.domain_shape)
    eye = torch.eye(n, dtype=torch.float64).reshape(n, *problem.projector.domain_shape)
    return problem.projector(eye).flatten(1).T


def _images(iterates: Iterator[Iterate], n: int) -> Tensor:
    """Images of the first n iterations: [iterations, slices, pixels]."""
    return torch.stack([i.images.flatten(1) for i in itertools.islice(iterates, n + 1)])


@every_scan
@pytest.mark.parametrize("relaxation", [1.0, 1.95])
def test_sirt_never_increases_its_objective_and_finds_the_least(
    scan: Scan, relaxation: float
) -> None:
    problem = _problem(scan)
    A, (weights, _) = _matrix(problem), sirt_weights(problem)
    images = _images(sirt_iterates(problem, relaxation=relaxation, nonnegative=False), 600)
    for index in range(2):
        root = weights[index].flatten().sqrt()
        b = root * problem.sinograms[index].flatten()
        objective = (b - images[:, index] @ (root[:, None] * A).T).square().sum(-1)
        assert float(objective.diff().max()) < 1e-12 * float(objective[0])
        least = torch.linalg.lstsq(root[:, None] * A, b[:, None], driver="gelsd").solution[:, 0]
        lowest = float((b - root[:, None] * A @ least).square().sum())
        assert float(objective[-1]) == pytest.approx(lowest, rel=1e-6)


def test_sirt_is_its_formula_with_the_noise_of_each_ray() -> None:
    problem = _problem(PARALLEL)
    A = _matrix(problem)
    rows = A.sum(1)
    for index in range(2):
        # textbook SIRT where all of q is 1
        q = (problem.precision[index] / problem.precision[index].max()).flatten()
        q = torch.where(rows > 1e-6, q, 0.0)
        x, y = torch.zeros(20, dtype=torch.float64), problem.sinograms[index].flatten()
        for _ in range(5):
            gap = q * (y - A @ x) / rows.clamp(min=1e-9)
            x = x + 0.9 * (A.T @ gap) / (A.T @ q)
        iterates = sirt_iterates(problem, relaxation=0.9, nonnegative=False)
        torch.testing.assert_close(_images(iterates, 5)[-1, index], x)


@every_scan
def test_nonnegative_sirt_finds_the_least_of_images_above_zero(scan: Scan) -> None:
    problem = _problem(scan)
    A, (weights, _) = _matrix(problem), sirt_weights(problem)
    iterates = sirt_iterates(problem, relaxation=1.5, nonnegative=True)
    image = _images(iterates, 600)[-1, 0]
    gradient = A.T @ (weights[0].flatten() * (A @ image - problem.sinograms[0].flatten()))
    assert float(image.min()) == 0
    # the conditions of Karush, Kuhn and Tucker
    assert float(gradient[image > 1e-6].abs().max()) < 1e-4 * float(gradient.abs().max())
    assert float(gradient[image == 0].min()) > -1e-4 * float(gradient.abs().max())


@every_scan
@given(seed=st.integers(0, 1000), damping=st.sampled_from([0.0, 0.02]))
def test_cgls_is_the_best_in_each_krylov_space(scan: Scan, seed: int, damping: float) -> None:
    problem = _problem(scan, seed)
    images = _images(cgls_iterates(problem, damping=damping), 6)
    for index in range(2):
        root = problem.precision[index].flatten().sqrt()
        B, b = root[:, None] * _matrix(problem), root * problem.sinograms[index].flatten()
        penalty = damping**2 * float((B.sum(1) ** 2).sum()) / B.shape[1]
        wide = torch.cat([B, penalty**0.5 * torch.eye(B.shape[1], dtype=torch.float64)])
        b = torch.cat([b, b.new_zeros(B.shape[1])])
        space = [wide.T @ b]
        for k in range(1, 6):
            basis = torch.linalg.qr(torch.stack(space, 1)).Q
            best = basis @ torch.linalg.lstsq(wide @ basis, b[:, None]).solution[:, 0]
            torch.testing.assert_close(images[k, index], best, rtol=1e-6, atol=1e-8)
            space.append(wide.T @ (wide @ (space[-1] / space[-1].norm())))


@every_scan
def test_cgls_ends_where_lsqr_ends(scan: Scan) -> None:
    problem = _problem(scan)
    images = _images(cgls_iterates(problem), 60)
    for index in range(2):
        root = problem.precision[index].flatten().sqrt()
        B, b = root[:, None] * _matrix(problem), root * problem.sinograms[index].flatten()
        expected = torch.from_numpy(lsqr(B.numpy(), b.numpy(), atol=1e-14, btol=1e-14)[0])
        torch.testing.assert_close(images[-1, index], expected, rtol=1e-6, atol=1e-7)
        assert bool(images[-1].isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cgls_residual_falls_and_is_the_image_s(dtype: torch.dtype) -> None:
    grid = ImageGrid((32, 32))
    scan = ParallelBeam(np.arange(40) * math.pi / 40, n_detectors=47)
    double = _problem(scan, grid=grid)
    problem = LeastSquares(
        projector=double.projector,
        sinograms=(1e4 + double.sinograms).to(dtype),
        precision=double.precision.to(dtype),
    )
    chi_squared = []
    for iterate in itertools.islice(cgls_iterates(problem), 120):
        chi_squared.append(iterate.chi_squared)
        last = iterate.images
    falls = torch.stack(chi_squared).diff(dim=0) / chi_squared[-1]
    assert float(falls.max()) < (1e-12 if dtype == torch.float64 else 1e-3)
    residual = problem.sinograms.double() - double.projector(last.double())
    n_rays = (double.precision > 0).sum(dim=(1, 2))
    true = (double.precision * residual.square()).sum(dim=(1, 2)) / n_rays
    torch.testing.assert_close(chi_squared[-1].double(), true, rtol=1e-3, atol=0)


def _blob_problem(grid: ImageGrid, scan: Scan, noise: float, seed: int = 0) -> Problem:
    blob = GaussianBlob(x=3.0, y=-2.0, a=5.0, b=3.0, tilt=0.4)
    clean = projector(grid, scan)(blob.image(grid))
    drawn = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return Problem(
        sinogram=clean + noise * drawn,
        noise_std=torch.full_like(clean, noise),
        projector=projector(grid, scan),
        grid=grid,
        scan=scan,
    )


@pytest.mark.parametrize("method", [ct.sirt(), ct.cgls(), ct.sirt(nonnegative=True)])
def test_stops_at_the_noise_level(method: ct.problem.Method) -> None:
    grid = ImageGrid((32, 32))
    scan = ParallelBeam(np.arange(30) * math.pi / 30, n_detectors=47)
    truth = GaussianBlob(x=3.0, y=-2.0, a=5.0, b=3.0, tilt=0.4).image(grid)
    errors = []
    for noise in (1.0, 0.1):
        problem = _blob_problem(grid, scan, noise)
        estimate = method.solve(problem, seed=0)
        assert estimate.diagnostics["stopped"] == "noise level"
        residual = problem.projector(estimate.mean) - problem.sinogram
        chi_squared = float((residual / noise).square().mean())
        assert chi_squared <= 1
        assert estimate.diagnostics["chi_squared"] == pytest.approx(chi_squared, rel=1e-6)
        errors.append(float((estimate.mean - truth).norm() / truth.norm()))
    assert errors[1] < errors[0] / 2 < 0.25


def test_a_noise_level_far_too_low_stalls_and_does_not_fit_the_noise() -> None:
    grid = ImageGrid((32, 32))
    scan = ParallelBeam(np.arange(60) * math.pi / 60, n_detectors=47)
    problem = _blob_problem(grid, scan, 0.3)
    fitted = Problem(**{**vars(problem), "noise_std": problem.noise_std / 10})
    truth = GaussianBlob(x=3.0, y=-2.0, a=5.0, b=3.0, tilt=0.4).image(grid)
    for method in (ct.sirt(), ct.cgls()):
        estimate = method.solve(fitted, seed=0)
        assert estimate.diagnostics["stopped"] == "stalled"
        assert float((estimate.mean - truth).norm() / truth.norm()) < 1.2


def _counting(chi_squared: list[list[float]]) -> Iterator[Iterate]:
    for k, values in enumerate(chi_squared):
        yield Iterate(
            images=torch.full((len(values), 1, 1), float(k)), chi_squared=torch.tensor(values)
        )


def test_each_slice_stops_on_its_own() -> None:
    chi_squared = [[5.0, 9.0, 0.5], [3.0, 1.0, 0.4], [2.0, 0.9, 0.3], [0.99, 0.8, 0.2], [0.5] * 3]
    estimates = estimates_at_noise_level(_counting(chi_squared), most=10, stalled=0.8)
    assert [float(e.mean) for e in estimates] == [3, 1, 0]
    assert [e.diagnostics["iterations"] for e in estimates] == [3, 1, 0]


def test_stalling_compares_with_half_as_many_iterations() -> None:
    falling = [[100.0 / (k + 1)] for k in range(100)]
    assert estimates_at_noise_level(_counting(falling), most=40, stalled=0.8)[0].diagnostics == {
        "iterations": 40, "chi_squared": pytest.approx(100 / 41), "stopped": "iterations",
    }  # fmt: skip
    floor = [[10 + 100.0 / (k + 1) ** 2] for k in range(100)]
    (estimate,) = estimates_at_noise_level(_counting(floor), most=40, stalled=0.8)
    assert estimate.diagnostics["stopped"] == "stalled"
    assert estimate.diagnostics["iterations"] == 10
    low = [[1.15] for _ in range(100)]
    assert estimates_at_noise_level(_counting(low), most=40, stalled=0.8)[0].diagnostics[
        "stopped"
    ] == "iterations"  # fmt: skip


def test_a_number_of_iterations_is_that_number() -> None:
    steps: list[tuple[int, int]] = []
    (estimate,) = estimates_after(
        _counting([[0.1]] * 9), 4, progress=lambda *step: steps.append(step)
    )
    assert float(estimate.mean) == 4
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_dead_rays_may_hold_anything() -> None:
    problem = _blob_problem(GRID, PARALLEL, 0.1)
    noise_std = problem.noise_std.clone()
    noise_std[2, 3:6] = math.inf
    wild = problem.sinogram.clone()
    wild[2, 3:6] = 1e6
    for method in (ct.sirt(iterations=20), ct.cgls(iterations=5), ct.sirt(), ct.cgls()):
        images = [
            method.solve(
                Problem(**{**vars(problem), "sinogram": s, "noise_std": noise_std}), seed=0
            ).mean
            for s in (problem.sinogram, wild)
        ]
        torch.testing.assert_close(images[0], images[1], rtol=1e-9, atol=1e-9)


def test_pixels_and_rays_that_meet_nothing_stay_at_zero() -> None:
    # the detector sees the middle columns in one view; its outer bins see no pixel
    scan = ParallelBeam((0.0, 0.0), n_detectors=3, detector_spacing=0.5)
    wide = ParallelBeam((0.0, 0.0), n_detectors=40, detector_spacing=0.5)
    for one, inner in ((scan, False), (wide, True)):
        problem = _blob_problem(GRID, one, 0.1)
        for method in (ct.sirt(iterations=30), ct.cgls(iterations=5)):
            image = method.solve(problem, seed=0).mean
            assert bool(image.isfinite().all())
            assert inner or float(image[:, 0].abs().max()) == 0


def test_an_empty_slice_stays_empty() -> None:
    problem = _blob_problem(GRID, PARALLEL, 0.1)
    empty = Problem(**{**vars(problem), "sinogram": torch.zeros_like(problem.sinogram)})
    for method in (ct.sirt(iterations=3), ct.cgls(iterations=3), ct.sirt(), ct.cgls()):
        images = [e.mean for e in method.solve_slices([empty, problem])]
        assert float(images[0].abs().max()) == 0
        torch.testing.assert_close(images[1], method.solve(problem, seed=0).mean)


def test_impossible_settings_are_refused() -> None:
    for make, name in [
        (lambda: ct.sirt(iterations=0), "iterations"),
        (lambda: ct.sirt(relaxation=2.0), "relaxation"),
        (lambda: ct.sirt(relaxation=-1.0), "relaxation"),
        (lambda: ct.cgls(iterations=-3), "iterations"),
        (lambda: ct.cgls(damping=-0.1), "damping"),
        (lambda: ct.cgls(damping=math.nan), "damping"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            make()
