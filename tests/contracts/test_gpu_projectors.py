"""What the projectors without a matrix promise beyond the laws of every projector."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors import by_device
from ct.projectors.operator import projector
from ct.projectors.ray_tables import ray_tables
from tests.reference.projector_cases import CASES, errors, random_case

GRID = ImageGrid((40, 33), 0.8)
SCANS: dict[str, Scan] = {
    "parallel": ParallelBeam([0.05 * k for k in range(63)], 50),
    "fan": FanBeam([0.1 * k for k in range(63)], 60, 70.0, 110.0, 1.2, curved=True),
}


def _draw(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, dtype=dtype, generator=generator).to(device)


def _errors(grid: ImageGrid, scan: Scan, batch: int, dtype: torch.dtype, device: str) -> float:
    A = projector(grid, scan)
    x = _draw(batch, *A.domain_shape, dtype=dtype, device=device)
    y = _draw(batch, *A.range_shape, dtype=dtype, device=device)
    return max(errors(A, A.T, grid, scan, x, y).values())


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", CASES)
def test_cases_equal_the_reference(name: str, dtype: torch.dtype, tolerance: float) -> None:
    for batch in (1, 2, 3, 9):
        assert _errors(*CASES[name], batch, dtype, "cuda") <= tolerance


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 4e-5)])
def test_random_scans_equal_the_reference(dtype: torch.dtype, tolerance: float) -> None:
    for seed in range(40):
        case = random_case(seed, side=60)
        found = _errors(*case, (1, 2, 5, 8)[seed % 4], dtype, "cuda")
        assert found <= tolerance, (case, found)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCANS)
def test_several_pieces_equal_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A = projector(GRID, SCANS[name])
    x = _draw(21, *A.domain_shape, device="cuda")
    once = A(x), A.T(A(x))
    monkeypatch.setattr("ct.projectors.triton_weights._SCRATCH", 1)
    torch.testing.assert_close((A(x), A.T(A(x))), once)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCANS)
def test_results_are_the_same_bits_each_time(name: str) -> None:
    A = projector(GRID, SCANS[name])
    x, y = _draw(5, *A.domain_shape, device="cuda"), _draw(5, *A.range_shape, device="cuda")
    assert torch.equal(A(x), A(x))
    assert torch.equal(A.T(y), A.T(y))


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCANS)
def test_a_captured_graph_replays_with_new_data(name: str) -> None:
    A = projector(GRID, SCANS[name])
    x = _draw(3, *A.domain_shape, device="cuda")
    A.T(A(x))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = A.T(A(x))
    x.copy_(_draw(4, *A.domain_shape, device="cuda")[:3])
    graph.replay()
    torch.testing.assert_close(y, A.T(A(x)), rtol=0, atol=0)


@pytest.mark.gpu
def test_unaligned_inputs_are_read_right() -> None:
    A = projector(GRID, SCANS["parallel"])
    memory = _draw(1 + 4 * math.prod(A.domain_shape), device="cuda")
    x = memory[1:].view(4, *A.domain_shape)
    A(x.clone())
    torch.testing.assert_close(A(x), A(x.clone()), rtol=0, atol=0)


@pytest.mark.gpu
def test_more_pixels_than_32_bits_count() -> None:
    grid = ImageGrid((16400, 16400))
    A = projector(grid, ParallelBeam((0.3, 1.4), 40, 500.0))
    x = torch.zeros(8, *grid.shape, device="cuda")
    x[6:, 16000:, 9000:] = 1
    y = A(x)
    torch.testing.assert_close(y[7], A(x[7]))
    assert y[7].amax() > 1
    assert y[:6].abs().amax() == 0
    del x
    z = A.T(y)
    torch.testing.assert_close(z[7, -2:], A.T(y[7])[-2:])
    assert z[7, -400:].abs().amax() > 1
    assert z[:6].abs().amax() == 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", SCANS)
def test_without_triton_the_numbers_are_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = _draw(2, *GRID.shape, device="cuda")
    A = projector(GRID, SCANS[name])
    with_triton = A(x), A.T(A(x))
    monkeypatch.setattr(by_device, "can_run_kernels", lambda _: False)
    B = projector(GRID, SCANS[name])
    for ours, other in zip(with_triton, (B(x), B.T(B(x))), strict=True):
        assert (ours - other).norm() < 1e-5 * other.norm()


def test_a_source_beside_the_image_is_projected_without_kernels(device: str) -> None:
    grid = ImageGrid((6, 8))
    scan = FanBeam((0.3, 2.0), 12, 2.0, 4.0, 0.9, source_offset=20.0, center=-60.0)
    assert ray_tables(grid, scan) is None
    assert _errors(grid, scan, 2, torch.float64, device) < 1e-12
