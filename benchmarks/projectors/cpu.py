"""The sparse projector against ASTRA, scikit-image and SciPy, and against memory bandwidth."""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ct.data.simulated_scans import fan_scan, parallel_scan
from ct.geometry import FanBeam, ImageGrid, Scan, with_angles
from ct.projectors.crossings import crossings
from ct.projectors.joseph_matrix import joseph_matrix
from ct.projectors.operator import projector
from tests.reference.astra_peer import AstraProjector
from tests.reference.gaussian_phantom import GaussianBlob

COLUMNS = (
    "scan", "projector", "forward ms", "adjoint ms", "ASTRA's forward time ÷",
    "ASTRA's adjoint time ÷", "A from ASTRA's", "Aᵀ from ASTRA's",
)  # fmt: skip
_ROOT = Path(__file__).parent.parent.parent
_FRESH = """
import re, sys, time, torch
from benchmarks.projectors.cpu import scans
from ct.projectors.sparse import SparseWeights
side, views, name, threads, clock = sys.argv[1:]
torch.set_num_threads(int(threads))
clock = time.process_time if clock == "cpu" else time.perf_counter
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
grid, scan = scans(int(side), int(views))[name]
x, y = torch.zeros(1, *grid.shape), torch.zeros(1, scan.n_views, scan.n_detectors)
before, times = peak(), [clock()]
weights = SparseWeights(grid, scan)
for way, value in ((weights.forward, x), (weights.adjoint, y)):
    for _ in range(2):
        way(value)
        times.append(clock())
first, second, third, fourth = (b - a for a, b in zip(times, times[1:]))
print(first - second, third - fourth, peak() - before, weights.stored_bytes)
"""


def scans(side: int, views: int) -> dict[str, tuple[ImageGrid, Scan]]:
    """Even angles, whose views share weights; uneven ones, whose views do not; a fan."""
    grid = ImageGrid((side, side))
    parallel = parallel_scan(grid, views=views)
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, size=views) * math.pi / views
    return {
        "parallel": (grid, parallel),
        "parallel, uneven angles": (
            grid,
            with_angles(parallel, np.array(parallel.angles) + jitter),
        ),
        "fan": (grid, fan_scan(grid, views=views)),
    }


def rows(options: argparse.Namespace) -> tuple[list[tuple[str, ...]], list[str]]:
    """Measure all scans; return the table and what else was found."""
    views = options.views
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    bandwidth = _bandwidth(clock)
    table: list[tuple[str, ...]] = []
    notes = [
        (
            f"{options.side}², {views} views, float32, batch of 1; {torch.get_num_threads()} "
            f"threads, {options.clock} clock, medians of {options.repeats} turns. Differences are "
            "relative, of a smooth blob off the centre and of its sinogram; a fan's peer weighs "
            "pixels by the length of the ray in them, so its adjoint is compared after averaging "
            "over 8² pixels."
        ),
        f"Copying 512 MB moves {bandwidth / 1e9:.1f} GB/s, read and written.",
    ]
    for name, (grid, scan) in scans(options.side, views).items():
        timed = _measure(grid, scan, options.repeats, clock)
        table.extend(_table(name, timed))
        cost = _cost(options.side, views, name, options.clock)
        notes.append(_words(name, timed, cost, bandwidth))
    return table, notes


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One contestant's medians in seconds, and how far its values are from ASTRA's."""

    forward: float
    adjoint: float
    forward_difference: float
    adjoint_difference: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the first use takes, in a fresh process.

    Attributes:
        forward: seconds for A, more than a later use.
        adjoint: seconds for Aᵀ, made from A.
        peak: by how much the process grows at most, in bytes.
        stored: bytes of both matrices.
        read: bytes of one matrix, an image and a sinogram.
    """

    forward: float
    adjoint: float
    peak: int
    stored: int
    read: int


def _measure(
    grid: ImageGrid, scan: Scan, repeats: int, clock: Callable[[], float]
) -> dict[str, Timed]:
    image, sinogram = _smooth(grid, scan)
    contestants = _contestants(grid, scan, image, sinogram)
    results = {name: (forward(), adjoint()) for name, (forward, adjoint) in contestants.items()}
    expected = results["ASTRA"]
    spent: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contestants}
    for turn in range(repeats):
        for name, pair in contestants.items():
            if name == "scikit-image" and turn >= 3:
                continue
            for way, seconds in zip(pair, spent[name], strict=True):
                start = clock()
                way()
                seconds.append(clock() - start)
    block = 8 if isinstance(scan, FanBeam) else 1
    return {
        name: Timed(
            forward=statistics.median(forward),
            adjoint=statistics.median(adjoint),
            forward_difference=_difference(results[name][0], expected[0], 1),
            adjoint_difference=_difference(results[name][1], expected[1], block),
        )
        for name, (forward, adjoint) in spent.items()
    }


def _smooth(grid: ImageGrid, scan: Scan) -> tuple[Tensor, Tensor]:
    side = grid.shape[0]
    blob = GaussianBlob(x=0.12 * side, y=-0.08 * side, a=0.1 * side, b=0.06 * side, tilt=0.4)
    return blob.image(grid).float(), blob.sinogram(scan).float()


Way = Callable[[], np.ndarray]


def _contestants(
    grid: ImageGrid, scan: Scan, image: Tensor, sinogram: Tensor
) -> dict[str, tuple[Way, Way]]:
    ours, astra = projector(grid, scan), AstraProjector(grid, scan)
    matrix = joseph_matrix(grid, crossings(grid, scan), range(scan.n_views), np.float32)
    transpose = matrix.tocsc().T
    x, y = image.numpy(), sinogram.numpy()
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    contestants: dict[str, tuple[Way, Way]] = {
        "ours": (lambda: ours(image).numpy(), lambda: ours.T(sinogram).numpy()),
        "ASTRA": (lambda: astra.forward(x), lambda: astra.adjoint(y)),
        "SciPy, a sparse matrix of each": (
            lambda: (matrix @ flat_x).reshape(y.shape),
            lambda: (transpose @ flat_y).reshape(x.shape),
        ),
    }
    if not isinstance(scan, FanBeam):
        from skimage.transform import radon

        degrees = np.rad2deg(scan.angles)
        contestants["scikit-image"] = (
            lambda: radon(x, degrees, circle=False).T,
            lambda: np.full_like(x, np.nan),
        )
    return contestants


def _difference(values: np.ndarray, expected: np.ndarray, block: int) -> float:
    """Relative difference of means over blocks; NaN where shapes differ (other detectors)."""
    if values.shape != expected.shape:
        return math.nan
    if block > 1:
        n = values.shape[0] // block
        values, expected = (
            each.reshape(n, block, n, block).mean(axis=(1, 3)) for each in (values, expected)
        )
    return float(np.linalg.norm(values - expected) / np.linalg.norm(expected))


def _bandwidth(clock: Callable[[], float]) -> float:
    source = torch.rand(2**27)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(7):
        start = clock()
        target.copy_(source)
        seconds.append(clock() - start)
    return 2 * 4 * source.numel() / statistics.median(seconds)


def _cost(side: int, views: int, name: str, clock: str) -> Cost:
    settings = (side, views, name, torch.get_num_threads(), clock)
    command = [sys.executable, "-c", _FRESH, *map(str, settings)]
    run = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    forward, adjoint, peak, stored = run.stdout.split()
    grid, scan = scans(side, views)[name]
    arrays = 4 * (math.prod(grid.shape) + scan.n_views * scan.n_detectors)
    return Cost(
        forward=float(forward),
        adjoint=float(adjoint),
        peak=int(peak),
        stored=int(stored),
        read=int(stored) // 2 + arrays,
    )


def _table(name: str, found: dict[str, Timed]) -> list[tuple[str, ...]]:
    astra = found["ASTRA"]
    table = []
    for contestant, timed in found.items():
        adjoint = contestant != "scikit-image"
        table.append((
            name,
            contestant,
            f"{1e3 * timed.forward:.1f}",
            f"{1e3 * timed.adjoint:.1f}" if adjoint else "",
            f"{astra.forward / timed.forward:.1f}",
            f"{astra.adjoint / timed.adjoint:.1f}" if adjoint else "",
            "" if math.isnan(timed.forward_difference) else f"{timed.forward_difference:.2%}",
            f"{timed.adjoint_difference:.2%}" if adjoint else "",
        ))
    return table


def _words(name: str, found: dict[str, Timed], cost: Cost, bandwidth: float) -> str:
    ours, astra = found["ours"], found["ASTRA"]
    saved = astra.forward - ours.forward, astra.adjoint - ours.adjoint
    both, limit = cost.forward + cost.adjoint, 1e3 * cost.read / bandwidth
    return (
        f"{name}: both matrices take {cost.stored / 1e6:.0f} MB, and a fresh process grows by "
        f"{cost.peak / 1e6:.0f} MB at most while they are made and used. They are made in "
        f"{cost.forward:.2f} s (A) and {cost.adjoint:.2f} s (Aᵀ, from A), repaid against ASTRA "
        f"after {cost.forward / saved[0]:.1f} forward projections, {both / saved[1]:.1f} adjoint "
        f"ones, or {both / sum(saved):.1f} of each. Reading one matrix, the image and the sinogram "
        f"once at that bandwidth takes {limit:.1f} ms; the measured times are "
        f"{1e3 * ours.forward / limit:.1f} (forward) and {1e3 * ours.adjoint / limit:.1f} "
        "(adjoint) times that."
    )
