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

import torch

from bayesnn.executors.local import KeptWorkers, local_executor
from benchmarks.report import RESULTS, Report, command_line
from benchmarks.scaling.fit_speed import processor_seconds
from benchmarks.scaling.slices_trial import Trial

NEEDED = {"cpu": 1.7, "cuda": 1.9}
HOW = (
    "Every worker has one thread. Times are of a whole call, from the scan's file to the result's, "
    "with workers that live already. Differences are over the largest value, of the result with "
    "one worker and with all, from that of no executor; 0 is bit for bit. Processor time is what "
    "would be left of wall time if nothing else ran."
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


def compare(trial: Trial, devices: list[str], rounds: int, command: str) -> Report:
    """Run with one worker and with all, and say how they compare."""
    kind = torch.device(devices[0]).type
    seconds: dict[str, list[float]] = {"one": [], "all": []}
    busiest: dict[str, list[float]] = {"one": [], "all": []}
    starting, load = [], os.getloadavg()[0]
    for _ in range(rounds):
        with _pinned(kind), local_executor(devices[:1], threads=1).kept() as one:
            trial.run("warm.h5", one, n_slices=1)
            _timed(trial, "one", one, seconds, busiest)
        start = time.perf_counter()
        with local_executor(devices, threads=1).kept() as several:
            trial.run("warm.h5", several, n_slices=len(devices))
            starting.append(time.perf_counter() - start)
            _timed(trial, "all", several, seconds, busiest)
    torch.set_num_threads(1)
    trial.run("here.h5", None, n_slices=trial.n_slices)
    differences = [trial.difference("here.h5", name) for name in ("one.h5", "all.h5")]
    one, several = (statistics.median(seconds[name]) for name in ("one", "all"))
    work_one, work_all = (statistics.median(busiest[name]) for name in ("one", "all"))
    work_ratio = work_one / max(work_all, 0.01)
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
            (
                "processor time of the busiest worker",
                f"{work_one:.1f} s of one, {work_all:.1f} s of all: {work_ratio:.2f}",
            ),
            ("load of the machine at the start", f"{load:.1f}"),
            ("starting workers, first slices", _times(starting)),
            ("largest difference from one process", " and ".join(f"{d:g}" for d in differences)),
        ],
        notes=[f"{trial.scan.n_views} views, {trial.scan.n_detectors} bins. {HOW}"],
    )


def _timed(
    trial: Trial,
    name: str,
    workers: KeptWorkers,
    seconds: dict[str, list[float]],
    busiest: dict[str, list[float]],
) -> None:
    before = processor_seconds(workers)
    seconds[name].append(trial.run(f"{name}.h5", workers))
    after = processor_seconds(workers)
    busiest[name].append(max(after[pid] - before.get(pid, 0.0) for pid in after))


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
