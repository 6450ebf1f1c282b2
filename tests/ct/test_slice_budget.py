"""How many slices come at once: by the budget, and on a GPU by its memory."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import ct
from ct.problem import Method
from ct.slices import MEMORY_BUDGET, SliceSolver

GRID = ct.ImageGrid((64, 48))
SCAN = ct.ParallelBeam([k * math.pi / 20 for k in range(20)], n_detectors=81)
VALUES = 64 * 48 + 20 * 81
COPIES = 5  # of filtered back-projection
GIB = 2**30


def _solver(device: str, method: Method | None = None, **changes: Any) -> SliceSolver:
    return SliceSolver(
        method=ct.fbp() if method is None else method,
        projector=ct.projector(GRID, SCAN),
        grid=GRID,
        scan=SCAN,
        device=torch.device(device),
        seed=0,
        keep_samples=False,
        slices=range(3),
        **changes,
    )


@pytest.fixture
def gpu_memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The memory of each device that is said to be there."""
    memory = {"cuda": 80 * GIB, "cuda:1": 4 * GIB}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties",
        lambda device: SimpleNamespace(total_memory=memory[str(device)]),
    )
    return memory


@pytest.mark.usefixtures("gpu_memory")
@pytest.mark.parametrize(
    ("device", "budget"), [("cpu", 2**28), ("cuda", 80 * GIB // 32), ("cuda:1", 2**28)]
)
def test_a_gpus_slices_get_a_share_of_its_memory(device: str, budget: int) -> None:
    solver = _solver(device)
    assert solver.budget == budget
    assert solver.chunk_length(torch.float32) == budget // (COPIES * VALUES * 4)
    assert solver.chunk_length(torch.float64) == budget // (COPIES * VALUES * 8)
    assert _solver(device, ct.mc_dropout()).chunk_length(torch.float32) == 1


@pytest.mark.usefixtures("gpu_memory")
@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_what_the_user_says_comes_first(device: str) -> None:
    solver = _solver(device, memory_budget=5 * COPIES * VALUES * 4)
    assert solver.chunk_length(torch.float32) == 5


def test_a_clusters_gpus_get_what_a_cpu_gets_where_there_is_none_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert _solver("cuda").budget == MEMORY_BUDGET


def test_a_cpus_budget_is_what_the_documents_say() -> None:
    assert MEMORY_BUDGET == 256 * 2**20


@pytest.mark.parametrize(
    ("method", "what"),
    [
        (ct.fbp(), "a slice"),
        (ct.jackknife(mean=ct.cgls(iterations=3), n_folds=3, n_samples=3), "a slice"),
        (ct.mc_dropout(steps=1, centre_steps=1, n_samples=3, held_out=0), "a slice's network"),
    ],
)
def test_a_budget_too_small_for_one_slice_is_said_before_work(method: Method, what: str) -> None:
    def reconstructed(budget: int) -> None:
        sinogram = np.random.default_rng(0).normal(1.0, 0.1, size=(20, 81))
        ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.1, memory_budget=budget)

    with pytest.warns(RuntimeWarning, match=f"expected room for {what}, .* got 9 B; it is") as said:
        reconstructed(9)
    assert len({str(one.message) for one in said}) == 1
    reconstructed(2**28)


@pytest.mark.filterwarnings("ignore:memory budget")
@pytest.mark.parametrize("method", [ct.fbp(), ct.cgls()])
def test_images_do_not_depend_on_the_budget(method: Method) -> None:
    shape = (3, 20, 81)
    sinogram = np.random.default_rng(0).normal(1.0, 0.1, size=shape)
    alone, together = (
        ct.reconstruct(sinogram, SCAN, GRID, method=method, noise_std=0.1, memory_budget=budget)
        for budget in (1, 2**30)
    )
    size = float(together.mean.abs().max())
    assert torch.allclose(alone.mean, together.mean, rtol=0, atol=1e-9 * size)
