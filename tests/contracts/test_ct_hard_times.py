"""Laws of every reconstruction method in hard times: interruption, and scans of little use."""

from __future__ import annotations

import math

import pytest
import torch

import ct
from ct.problem import Estimate, Problem
from tests.contracts.test_ct_methods import GRID, IDS, METHODS, SCAN, _sinogram, every_method
from tests.ct.posterior.memory_checkpoint import InterruptionError, MemoryCheckpoint

# the same small steps as in the other laws, where shapes are checked
pytestmark = pytest.mark.usefixtures("as_users_run")
BAYESIAN = [
    pytest.param(method, id=name)
    for method, name in zip(METHODS, IDS, strict=True)
    if method.n_samples is not None
]


def solved(method: ct.problem.Method, checkpoint: MemoryCheckpoint) -> Estimate:
    sinogram = _sinogram()[0]
    problem = Problem(
        sinogram=sinogram,
        noise_std=torch.full_like(sinogram, 0.05),
        projector=ct.projector(GRID, SCAN),
        grid=GRID,
        scan=SCAN,
        keep_samples=True,
        checkpoint=checkpoint,
    )
    return method.solve(problem, seed=3)


@pytest.mark.parametrize("method", BAYESIAN)
def test_interrupted_work_goes_on_to_the_same_bits(method: ct.problem.Method) -> None:
    whole = MemoryCheckpoint(stop_after=10**9)
    expected = solved(method, whole)
    n_saves = 10**9 - whole.left
    assert n_saves > 0, "long work that leaves no state"
    broken = MemoryCheckpoint(stop_after=n_saves // 2 + 1)
    with pytest.raises(InterruptionError):
        solved(method, broken)
    broken.left = None
    found = solved(method, broken)
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.std, expected.std)
    assert torch.equal(found.samples, expected.samples)
    assert found.half_widths == expected.half_widths


def little_to_see(case: str) -> tuple[ct.ParallelBeam, torch.Tensor, torch.Tensor]:
    """Return a scan, a sinogram and the noise of its rays."""
    if case == "three views":
        scan = ct.ParallelBeam(SCAN.angles[:3], n_detectors=30, detector_spacing=0.8)
        return scan, _sinogram()[0, :3], torch.full((3, 30), 0.05, dtype=torch.float64)
    sinogram = _sinogram()[0]
    noise = torch.full_like(sinogram, 0.05)
    if case == "nothing but noise":
        generator = torch.Generator().manual_seed(2)
        sinogram = 0.05 * torch.randn(sinogram.shape, generator=generator, dtype=torch.float64)
    if case == "half of the rays missing":
        noise[:, ::4] = noise[2:5] = math.inf
    return SCAN, sinogram, noise


@every_method
@pytest.mark.parametrize("case", ["three views", "nothing but noise", "half of the rays missing"])
def test_a_scan_with_little_in_it_gives_finite_numbers(
    method: ct.problem.Method, case: str
) -> None:
    scan, sinogram, noise = little_to_see(case)
    result = ct.reconstruct(sinogram, scan, GRID, method=method, noise_std=noise)
    assert bool(result.mean.isfinite().all())
    if result.std is not None:
        assert bool(result.std.isfinite().all())
    (diagnostics,) = result.metadata["diagnostics"]
    assert "findings" in diagnostics  # the alarm stands in every result
    if case == "three views" and method.settings().get("held_out"):
        said = result.metadata["calibration"]
        assert said.startswith("none: 3 views are too few")


@pytest.mark.parametrize("name", ["fbp-ramp", "mc-dropout-fourier"])
def test_a_noise_that_the_rays_contradict_is_found(name: str) -> None:
    method = METHODS[IDS.index(name)]  # the check is the same for all
    result = ct.reconstruct(_sinogram()[0], SCAN, GRID, method=method, noise_std=2.0)
    (diagnostics,) = result.metadata["diagnostics"]
    assert "noise" in [finding["name"] for finding in diagnostics["findings"]]
