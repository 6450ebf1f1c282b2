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
from ct.projectors.sparse import SparseWeights
from tests.reference.astra_peer import AstraProjector
from tests.reference.gaussian_phantom import GaussianBlob

COLUMNS = (
    "scan", "projector", "forward ms", "adjoint ms", "ASTRA's forward time ÷",
    "ASTRA's adjoint time ÷", "A from ASTRA's", "Aᵀ from ASTRA's",
)  # fmt: skip
_ROOT = Path(__file__).parent.parent.parent
_PEAK = """
import resource, sys, torch
from benchmarks.projectors.cpu import scans
from ct.projectors.sparse import SparseWeights
side, views, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
grid, scan = scans(side, views)[name]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
weights = SparseWeights(grid, scan)
y = weights.forward(torch.zeros(1, side, side))
weights.adjoint(y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
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
    views = options.views or 60
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
        found = _measure(grid, scan, options.repeats, clock)
        table.extend(_table(name, found))
        peak = _peak_memory(options.side, views, name)
        notes.append(_words(name, found, bandwidth, peak))
    return table, notes


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One contestant's medians in seconds, and how far its values are from ASTRA's."""

    forward: float
    adjoint: float
    forward_difference: float
    adjoint_difference: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured of one scan."""

    timed: dict[str, Timed]
    build_forward: float
    build_adjoint: float
    stored: int
    moved: tuple[int, int]


def _measure(grid: ImageGrid, scan: Scan, repeats: int, clock: Callable[[], float]) -> Found:
    image, sinogram = _smooth(grid, scan)
    build_forward, build_adjoint, weights = _build(grid, scan, image, sinogram, clock)
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
    timed = {
        name: Timed(
            forward=statistics.median(forward),
            adjoint=statistics.median(adjoint),
            forward_difference=_difference(results[name][0], expected[0], 1),
            adjoint_difference=_difference(results[name][1], expected[1], block),
        )
        for name, (forward, adjoint) in spent.items()
    }
    half = weights.stored_bytes // 2
    arrays = image.numel() * 4 + sinogram.numel() * 4
    return Found(
        timed=timed,
        build_forward=build_forward,
        build_adjoint=build_adjoint,
        stored=weights.stored_bytes,
        moved=(half + arrays, half + arrays),
    )


def _smooth(grid: ImageGrid, scan: Scan) -> tuple[Tensor, Tensor]:
    side = grid.shape[0]
    blob = GaussianBlob(x=0.12 * side, y=-0.08 * side, a=0.1 * side, b=0.06 * side, tilt=0.4)
    return blob.image(grid).float(), blob.sinogram(scan).float()


def _build(
    grid: ImageGrid, scan: Scan, image: Tensor, sinogram: Tensor, clock: Callable[[], float]
) -> tuple[float, float, SparseWeights]:
    """Median of three of the first use less a later one, forward and adjoint."""
    extra: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        weights = SparseWeights(grid, scan)
        for way, x, seconds in zip(
            (weights.forward, weights.adjoint), (image, sinogram), extra, strict=True
        ):
            times = [clock()]
            for _ in range(3):
                way(x[None])
                times.append(clock())
            seconds.append(times[1] - times[0] - (times[3] - times[1]) / 2)
    return statistics.median(extra[0]), statistics.median(extra[1]), weights


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


def _peak_memory(side: int, views: int, name: str) -> int:
    """How far making and using both matrices raises a fresh process's memory."""
    command = [sys.executable, "-c", _PEAK, str(side), str(views), name]
    run = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    return 1024 * int(run.stdout)


def _table(name: str, found: Found) -> list[tuple[str, ...]]:
    astra = found.timed["ASTRA"]
    table = []
    for contestant, timed in found.timed.items():
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


def _words(name: str, found: Found, bandwidth: float, peak: int) -> str:
    ours, astra = found.timed["ours"], found.timed["ASTRA"]
    saved = astra.forward - ours.forward, astra.adjoint - ours.adjoint
    both = found.build_forward + found.build_adjoint
    limits = [1e3 * moved / bandwidth for moved in found.moved]
    return (
        f"{name}: both matrices take {found.stored / 1e6:.0f} MB, and a fresh process "
        f"{peak / 1e6:.0f} MB more than before at most while they are made and used. They are "
        f"made in {found.build_forward:.2f} s (A) and {found.build_adjoint:.2f} s (Aᵀ, from A), "
        f"repaid against ASTRA after {found.build_forward / saved[0]:.1f} forward projections, "
        f"{both / saved[1]:.1f} adjoint ones, or {both / sum(saved):.1f} of each. Reading the "
        f"weights, image and sinogram once at that bandwidth takes {limits[0]:.1f} ms; the "
        f"measured times are {1e3 * ours.forward / limits[0]:.1f} (forward) and "
        f"{1e3 * ours.adjoint / limits[1]:.1f} (adjoint) times that."
    )
