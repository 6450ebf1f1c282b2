"""Is a volume larger than the memory reconstructed in less than 2 GB, and how fast?

    python benchmarks/ct_volume.py                # 8,000 slices of 512², 60 views; 19 GB of disk
    python benchmarks/ct_volume.py --slices 200   # a quick look; no report unless --write

Makes the sinograms in a temporary folder, runs `bayesnn-ct reconstruct --method fbp` on them in a
process of its own, and measures that process's peak resident memory (ru_maxrss) and slices a
second. Some slices of the result are compared with `ct.reconstruct` of that slice alone. Beside it
stand two limits, measured in this process: the same reconstruction of slices that are in memory
already, and writing the result's bytes to the same disk.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float32

sys.path.insert(0, str(Path(__file__).parent.parent))

import ct
from benchmarks.report import RESULTS, Report
from ct.data.simulated_scans import parallel_scan
from ct.data.sinogram_file import write_sinogram

SIDE, VIEWS, NOISE_STD = 512, 60, 0.5
BUDGET = 2e9
SMALL_PARENT = (
    "import resource, subprocess, sys; "
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)
"""A process's peak counts that of the process it was forked from: so it is forked from this one."""
RUN = (
    "The run is the command line's, from starting the process to the finished file: it reads the "
    "sinogram three times (its digest for --resume, its value range, the slices), estimates every "
    "slice's noise and puts every chunk on disk before the next."
)
N_COMPARED = 8


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=8000)
    parser.add_argument("--folder", type=Path, default=None, help="where the files go for a while")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="write the report of a short run too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = measure(Path(folder), options.slices, options.device)
        whole = options.slices >= 8000 or options.write
        print(report.write(RESULTS if whole else Path(folder)).read_text())


def measure(folder: Path, n_slices: int, device: str) -> Report:
    """Make the volume, reconstruct it, check it, and return what was found."""
    sinogram, result = folder / "volume.h5", folder / "rec.h5"
    grid = ct.ImageGrid((SIDE, SIDE))
    scan = parallel_scan(grid, views=VIEWS)
    write_sinogram(
        sinogram,
        slices(grid, scan, n_slices),
        grid=grid,
        scan=scan,
        n_slices=n_slices,
        units="",
        image_units="",
        metadata={"source": "ellipses that change from slice to slice"},
    )
    command = [str(sinogram), "-o", str(result), "--method", "fbp", "--device", device]
    seconds, peak = run("reconstruct", *command)
    error = largest_difference(sinogram, result, grid, scan, n_slices, device)
    in_memory = seconds_in_memory(sinogram, grid, scan, min(n_slices, 96), device)
    converting, convert_peak = run("convert", str(result), str(folder / "rec.nii"))
    (folder / "rec.nii").unlink()
    written = result.stat().st_size
    to_disk = seconds_to_disk(folder / "bytes", min(written, 2 * 10**9))
    image_bytes = 4 * n_slices * SIDE**2
    rows = [
        ("slices", f"{n_slices} of {SIDE}² from {VIEWS} views"),
        ("image", f"{image_bytes / 1e9:.2f} GB"),
        ("sinogram", f"{sinogram.stat().st_size / 1e9:.2f} GB"),
        ("peak resident memory", f"{peak / 1e9:.2f} GB (budget {BUDGET / 1e9:g} GB)"),
        ("image / peak memory", f"{image_bytes / peak:.1f}"),
        ("whole run", f"{seconds:.1f} s, {n_slices / seconds:.1f} slices/s"),
        ("convert to NIfTI", f"{converting:.1f} s, {n_slices / converting:.0f} slices/s"),
        ("its peak resident memory", f"{convert_peak / 1e9:.2f} GB"),
        ("in memory, no files", f"{1 / in_memory:.1f} slices/s"),
        ("the disk alone", f"{SIDE**2 * 4 / 1e6 / to_disk:.0f} MB/s, {1 / to_disk:.0f} slices/s"),
        ("largest difference from single slices", f"{error:.1e} of the largest value"),
        ("within the budget", "yes" if max(peak, convert_peak) < BUDGET else "NO"),
    ]
    return Report(
        name="ct_volume",
        title="A volume larger than the memory, by filtered back-projection",
        command=f"python benchmarks/ct_volume.py --slices {n_slices} --device {device}",
        columns=("what", "measured"),
        rows=rows,
        notes=[
            RUN,
            f"Compared with `ct.reconstruct` of single slices: {N_COMPARED}, evenly spread.",
        ],
    )


def slices(
    grid: ct.ImageGrid, scan: ct.ParallelBeam, n_slices: int
) -> Iterator[tuple[Float32[np.ndarray, "views detectors"], float]]:
    """Yield noisy sinograms of discs whose values swell and fade along the axis."""
    x, y = grid.x_positions, grid.y_positions[:, None]
    centres = [(0.0, 0.0, 220.0), (-90.0, 60.0, 70.0), (80.0, 40.0, 50.0), (20.0, -110.0, 60.0)]
    discs = torch.stack([((x - a) ** 2 + (y - b) ** 2 < r**2).float() for a, b, r in centres])
    parts = ct.projector(grid, scan)(discs).numpy()
    rng = np.random.default_rng(0)
    for index in range(n_slices):
        weights = 1 + np.cos(index / 50 + np.arange(len(parts))).astype(np.float32)
        noise = NOISE_STD * rng.standard_normal(parts.shape[1:], dtype=np.float32)
        yield np.tensordot(weights, parts, 1) + noise, NOISE_STD


def run(*arguments: str) -> tuple[float, int]:
    """Run the command line; return its seconds and its peak resident memory in bytes."""
    command = [sys.executable, "-m", "ct", *arguments]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SMALL_PARENT, *command], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"the command line failed: {done.stderr}")
    return seconds, int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def largest_difference(
    sinogram: Path, result: Path, grid: ct.ImageGrid, scan: ct.ParallelBeam, n: int, device: str
) -> float:
    """Return the largest difference from single slices, over the largest value."""
    worst = 0.0
    with h5py.File(sinogram) as file, ct.open_reconstruction(result) as volume:
        assert len(volume) == n
        for index in np.linspace(0, n - 1, N_COMPARED).round().astype(int).tolist():
            alone = ct.reconstruct(
                file["sinogram"][index], scan, grid, method=ct.fbp(), noise_std=1.0, device=device
            ).mean.cpu()
            difference = (volume.read(index).mean - alone).abs().max() / alone.abs().max()
            worst = max(worst, float(difference))
    return worst


def seconds_in_memory(
    sinogram: Path, grid: ct.ImageGrid, scan: ct.ParallelBeam, n: int, device: str
) -> float:
    """Return the seconds a slice takes where nothing is read, estimated or written."""
    with h5py.File(sinogram) as file:
        values = torch.from_numpy(file["sinogram"][:n]).to(device)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        ct.reconstruct(values, scan, grid, method=ct.fbp(), noise_std=1.0).mean.sum().item()
        times.append(time.perf_counter() - start)
    return sorted(times)[1] / n


def seconds_to_disk(path: Path, size: int) -> float:
    """Return the seconds that the disk takes for one slice, written in 16 MiB and synced."""
    block = np.random.default_rng(0).bytes(16 * 2**20)
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(math.ceil(size / len(block))):
            file.write(block)
            os.fdatasync(file.fileno())
    return (time.perf_counter() - start) / (path.stat().st_size / (SIDE**2 * 4))


if __name__ == "__main__":
    main()
