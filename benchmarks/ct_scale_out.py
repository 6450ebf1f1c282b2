"""How much faster are two workers than one, for slices of a CT scan?

    python -m benchmarks.ct_scale_out                            # two processes on two cores
    python -m benchmarks.ct_scale_out --devices cuda:0,cuda:1    # two GPUs, without Ray
    python -m benchmarks.ct_scale_out --quick                    # a smoke run

The same file of slices is reconstructed by the default method from file to file, by one worker
(on a CPU pinned to one core) and by as many as there are devices, in turns, `--rounds` times. The
workers are started and have done a slice each before the clock starts, as the projector's weights
and GPU kernels are made once a process; what starting took stands in a row of its own. Every
result is compared with that of this process alone, bit for bit on a CPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float32

import ct
from bayesnn.executors import Executor, local_executor
from benchmarks.report import RESULTS, Report, command_line
from ct.data.phantoms import shepp_logan
from ct.data.simulated_scans import parallel_scan
from ct.data.sinogram_file import write_sinogram
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import reconstruct_file

NOISE_STD = 0.1
NEEDED = {"cpu": 1.7, "cuda": 1.9}
HOW = (
    "Every worker has one thread. Times are of a whole call, from the scan's file to the result's, "
    "with workers that live already. Differences are over the largest value, of the result with "
    "one worker and with all, from that of no executor; 0 is bit for bit."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the report."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="cpu,cpu", help="of the workers, one each")
    parser.add_argument("--method", default="jackknife")
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--side", type=int, help="pixels (default 64, on GPUs 512)")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a smoke run of fbp")
    options = parser.parse_args(words)
    devices = options.devices.split(",")
    kind = torch.device(devices[0]).type
    if options.quick:
        options.method, options.slices, options.side, options.views = "fbp", 4, 24, 12
    side = options.side or (64 if kind == "cpu" else 512)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), options.method, devices[0], side, options.views)
        trial.make(options.slices)
        report = compare(trial, devices, options.rounds, command_line(*_said(words)))
    print(report.write(options.out).read_text())


class Trial:
    """A scan on disk, and how it is reconstructed."""

    def __init__(self, folder: Path, method: str, device: str, side: int, views: int) -> None:
        self.folder, self.method, self.device, self.side = folder, method, device, side
        self.grid = ct.ImageGrid((side, side))
        self.scan = parallel_scan(self.grid, views=views)
        self.n_slices = 0

    def make(self, n_slices: int) -> None:
        """Write the sinograms."""
        self.n_slices = n_slices
        write_sinogram(
            self.folder / "scan.h5",
            self._sinograms(n_slices),
            grid=self.grid,
            scan=self.scan,
            n_slices=n_slices,
            units="",
            image_units="",
            metadata={"source": "the Shepp-Logan phantom, brighter from slice to slice"},
        )

    def _sinograms(
        self, n_slices: int
    ) -> Iterator[tuple[Float32[np.ndarray, "views detectors"], float]]:
        clean = ct.projector(self.grid, self.scan)(shepp_logan(self.grid).image(self.grid).float())
        rng = np.random.default_rng(0)
        for index in range(n_slices):
            noise = NOISE_STD * rng.standard_normal(clean.shape, dtype=np.float32)
            yield (1 + index / n_slices) * clean.numpy() + noise, NOISE_STD

    def run(self, name: str, executor: Executor | None, n_slices: int | None = None) -> float:
        """Reconstruct slices into a file; return the seconds."""
        start = time.perf_counter()
        reconstruct_file(
            ReconstructConfig(
                sinogram=self.folder / "scan.h5",
                output=self.folder / name,
                method=self.method,
                device=self.device,
                slices=f"0:{n_slices or self.n_slices}",
                executor=executor,
                # as many chunks as slices, for methods that take several slices at once
                memory_budget=1 if self.method in {"fbp", "cgls", "sirt", "tv"} else None,
            )
        )
        return time.perf_counter() - start

    def difference(self, one: str, other: str) -> float:
        """Return the largest difference of two results, over the largest value."""
        with h5py.File(self.folder / one) as a, h5py.File(self.folder / other) as b:
            return max(
                float(np.abs(a[name][()] - b[name][()]).max() / np.abs(a[name][()]).max())
                for name in a
            )


def compare(trial: Trial, devices: list[str], rounds: int, command: str) -> Report:
    """Run with one worker and with all, and say how they compare."""
    kind = torch.device(devices[0]).type
    seconds: dict[str, list[float]] = {"one": [], "all": []}
    starting = []
    for _ in range(rounds):
        with _pinned(kind), local_executor(devices[:1], threads=1).kept() as one:
            trial.run("warm.h5", one, n_slices=1)
            seconds["one"].append(trial.run("one.h5", one))
        start = time.perf_counter()
        with local_executor(devices, threads=1).kept() as several:
            trial.run("warm.h5", several, n_slices=len(devices))
            starting.append(time.perf_counter() - start)
            seconds["all"].append(trial.run("all.h5", several))
    torch.set_num_threads(1)
    trial.run("here.h5", None, n_slices=trial.n_slices)
    differences = [trial.difference("here.h5", name) for name in ("one.h5", "all.h5")]
    one, several = (statistics.median(seconds[name]) for name in ("one", "all"))
    speed_up, needed = one / several, NEEDED[kind]
    where = "pinned to one core" if kind == "cpu" else "on one GPU"
    return Report(
        name="ct_scale_out" if kind == "cpu" else "ct_scale_out_gpu",
        title=f"CT slices by {len(devices)} workers and by one",
        command=command,
        lead=(
            f"{len(devices)} workers ({', '.join(devices)}) are {speed_up:.2f} times as fast as "
            f"one {where}, for {trial.n_slices} slices of {trial.side}² by {trial.method}; "
            f"{needed:g} was asked for: {'met' if speed_up >= needed else 'MISSED'}."
        ),
        columns=("what", "measured"),
        rows=[
            (f"one worker {where}", _times(seconds["one"])),
            (f"{len(devices)} workers", _times(seconds["all"])),
            ("speed-up", f"{speed_up:.2f}"),
            ("starting workers, first slices", _times(starting)),
            ("largest difference from one process", " and ".join(f"{d:g}" for d in differences)),
        ],
        notes=[f"{trial.scan.n_views} views, {trial.scan.n_detectors} bins. {HOW}"],
    )


@contextmanager
def _pinned(kind: str) -> Iterator[None]:
    """Keep this process, and those that it starts, on one core."""
    cores = os.sched_getaffinity(0)
    if kind == "cpu":
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _times(seconds: list[float]) -> str:
    return ", ".join(f"{s:.1f} s" for s in seconds)


def _said(words: Sequence[str]) -> list[str]:
    return ["python", "-m", "benchmarks.ct_scale_out", *words]


if __name__ == "__main__":
    main()
