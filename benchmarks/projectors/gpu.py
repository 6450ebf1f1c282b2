"""The GPU's kernels against sparse matrices and `grid_sample`, and against what the GPU can do.

512² pixels, 360 views, 726 bins. The peer `grid_sample` reads points along the rays (for parallel
beams, rotated images) in its best chunks; its adjoint is autograd's. Times are medians of rounds;
in a round calls are queued one after another, on inputs in turn that together are larger than the
cache, so that no call waits for the host. Run by `benchmarks/ct_projectors.py --part gpu`;
BAYESNN_COMMIT names the commit where the checkout has no history.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.projectors.gpu_work import Work, measure_work
from benchmarks.projectors.grid_sample import GridSampleProjector
from benchmarks.report import Report
from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.operator import Projector, projector
from ct.projectors.sparse import SparseWeights

Map = Callable[[Tensor], Tensor]
COLUMNS = (
    "scan",
    "slices",
    "number",
    "map",
    "implementation",
    "ms",
    "ms a slice",
    "ours is faster",
)
INPUTS_BYTES = 2**26
CHUNKS = (12, 90, 360)
DEVICE = torch.device("cuda")


def scans(side: int, n_views: int, n_bins: int) -> dict[str, Scan]:
    """Return the scans: half a turn of parallel rays, a full turn of a fan."""
    half = [math.pi * k / n_views for k in range(n_views)]
    distance = 1000.0 * side / 512
    return {
        "parallel": ParallelBeam(half, n_bins),
        "fan": FanBeam([2 * a for a in half], n_bins, distance, 1.5 * distance, 1.5),
    }


def milliseconds(run: Map, shape: tuple[int, ...], dtype: torch.dtype, rounds: int) -> float:
    """Return the median time of a call."""
    first = torch.randn(shape, dtype=dtype, device=DEVICE)
    n_inputs = min(32, 2 + INPUTS_BYTES // (first.numel() * first.element_size()))
    inputs = [first, *(torch.randn_like(first) for _ in range(n_inputs - 1))]
    run(first)
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for x in inputs:
            run(x)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / n_inputs)
    return statistics.median(times)


def grid_sample_milliseconds(
    grid: ImageGrid, scan: Scan, batch: int, rounds: int
) -> tuple[float, float]:
    """Return the times of the peer and of its adjoint, each in its best chunks."""
    best = [math.inf, math.inf]
    for chunk in CHUNKS:
        peer = GridSampleProjector(grid, scan, chunk=chunk, device=DEVICE)
        shape = (batch, *grid.shape)
        best[0] = min(best[0], milliseconds(peer, shape, torch.float32, rounds))
        x = torch.randn(shape, device=DEVICE, requires_grad=True)
        y = peer(x)

        def adjoint(z: Tensor, x: Tensor = x, y: Tensor = y) -> Tensor:
            return torch.autograd.grad(y, x, z, retain_graph=True)[0]

        best[1] = min(best[1], milliseconds(adjoint, tuple(y.shape), torch.float32, rounds))
    return best[0], best[1]


def times(
    name: str, grid: ImageGrid, scan: Scan, rounds: int, work: Work, notes: list[str]
) -> list[tuple[str, ...]]:
    """Return the rows of one scan."""
    A = projector(grid, scan)
    matrices = SparseWeights(grid, scan)
    rows = []
    for batch in (1, 8):
        for dtype in (torch.float32, torch.float64):
            shapes = {"A": (batch, *A.domain_shape), "Aᵀ": (batch, *A.range_shape)}
            found: dict[str, list[float]] = {
                "kernels": [
                    milliseconds(run, shape, dtype, rounds)
                    for run, shape in zip((A, A.T), shapes.values(), strict=True)
                ]
            }
            if dtype == torch.float32:
                found["sparse matrices"] = [
                    milliseconds(run, shape, dtype, rounds)
                    for run, shape in zip(
                        (matrices.forward, matrices.adjoint), shapes.values(), strict=True
                    )
                ]
                found["grid_sample"] = list(grid_sample_milliseconds(grid, scan, batch, rounds))
            n_bytes = torch.finfo(dtype).bits // 8
            floors = work.floors(grid, scan, batch, n_bytes)
            notes.append(
                f"{name}, {batch} slice{'s' * (batch > 1)}, {str(dtype)[6:]}: least time by "
                + ", ".join(f"{kind} {value:.3g} ms" for kind, value in floors.items())
                + f"; ours takes {found['kernels'][0] / max(floors.values()):.2g} (A) and "
                f"{found['kernels'][1] / max(floors.values()):.2g} (Aᵀ) times the largest."
            )
            for i, which in enumerate(shapes):
                for label, value in found.items():
                    ratio = value[i] / found["kernels"][i]
                    rows.append((
                        name, str(batch), str(dtype)[6:], which, label, f"{value[i]:.3f}",
                        f"{value[i] / batch:.4f}", "" if label == "kernels" else f"{ratio:.1f}×",
                    ))  # fmt: skip
    return rows


def first_calls(grid: ImageGrid, scan: Scan) -> str:
    """Time the first call of each direction, in a process that has compiled no kernel."""
    A = projector(grid, scan)
    seconds = []
    for run, shape in ((A, A.domain_shape), (A.T, A.range_shape)):
        x = torch.randn(8, *shape, device=DEVICE)
        torch.cuda.synchronize()
        began = time.perf_counter()
        run(x)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return (
        f"First calls (tables and compilation, unless Triton's cache on disk has it): A "
        f"{seconds[0]:.2g} s, Aᵀ {seconds[1]:.2g} s."
    )


def accuracy(A: Projector) -> str:
    """Compare float32 with float64, and both directions with each other."""
    x = torch.randn(2, *A.domain_shape, device=DEVICE, dtype=torch.float64)
    y = torch.randn(2, *A.range_shape, device=DEVICE, dtype=torch.float64)
    Ax, Aty = A(x), A.T(y)
    words = []
    for dtype in (torch.float32, torch.float64):
        low, back = A(x.to(dtype)).double(), A.T(y.to(dtype)).double()
        gap = ((low * y).sum() - (x * back).sum()).abs() / (low.norm() * y.norm())
        words.append(
            f"{str(dtype)[6:]}: |⟨Ax, y⟩ − ⟨x, Aᵀy⟩| / ‖Ax‖‖y‖ = {gap:.1e}"
            + (
                f", from float64 ‖ΔAx‖/‖Ax‖ = {(low - Ax).norm() / Ax.norm():.1e}, "
                f"‖ΔAᵀy‖/‖Aᵀy‖ = {(back - Aty).norm() / Aty.norm():.1e}"
                if dtype == torch.float32
                else ""
            )
        )
    return "Of random x and y, " + "; ".join(words) + "."


def small_calls() -> str:
    """Time calls that are shorter than the host takes to launch them."""
    grid = ImageGrid((128, 128))
    scan = scans(128, 60, 183)["parallel"]
    A = projector(grid, scan)
    peer = GridSampleProjector(grid, scan, chunk=60, device=DEVICE)
    x = torch.randn(1, 128, 128, device=DEVICE)
    y = A(x)
    words = []
    runs: dict[str, Callable[[], Tensor]] = {
        "A(x)": lambda: A(x),
        "A.T(y)": lambda: A.T(y),
        "grid_sample": lambda: peer(x),
        "x + 1": lambda: x + 1,
    }
    for name, run in runs.items():
        run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(50):
                run()
        plain, replayed = (_microseconds(f, n) for f, n in ((run, 200), (graph.replay, 4)))
        words.append(f"{name} {plain:.0f} µs, in a CUDA graph {replayed / 50:.1f} µs")
    return "128², 60 views, 183 bins, one slice, host included: " + "; ".join(words) + "."


def _microseconds(run: Callable[[], object], n: int) -> float:
    times = []
    for _ in range(7):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(n):
            run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - began) / n * 1e6)
    return statistics.median(times)


def report(*, quick: bool) -> Report:
    """Measure everything."""
    side, n_views, n_bins = (128, 60, 183) if quick else (512, 360, 726)
    rounds = 3 if quick else 5
    grid = ImageGrid((side, side))
    rows, notes = [], []
    for name, scan in scans(side, n_views, n_bins).items():
        compiled = first_calls(grid, scan)
        work = measure_work(grid, scan)
        rows += times(name, grid, scan, rounds, work, notes)
        A = projector(grid, scan)
        peer = GridSampleProjector(grid, scan, chunk=n_views, device=DEVICE)
        x = torch.ones(1, side, side, device=DEVICE)
        gap = (peer(x) - A(x)).norm() / A(x).norm()
        notes.append(
            f"{name}: {accuracy(A)} {compiled} On a constant image grid_sample differs from ours "
            f"by {float(gap):.1e} (its points stand one pixel apart on every ray). "
            f"Measured copies: {work.memory / 1e12:.3g} TB/s; first-level cache "
            f"{work.cache / 1e12:.3g} TB/s at most; {work.crossings:.3g} crossings of rays with "
            "lines inside the image."
        )
    notes.append(small_calls())
    return Report(
        name="ct_projectors_gpu",
        title=f"Projectors on a GPU: {side}² pixels, {n_views} views, {n_bins} bins",
        command="python benchmarks/ct_projectors.py --part gpu" + " --side 128" * quick,
        columns=COLUMNS,
        rows=rows,
        notes=["\n".join(f"- {note}" for note in notes)],
    )
