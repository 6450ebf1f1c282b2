"""How much faster are two workers than one, for slices of a CT scan?

    python -m benchmarks.ct_scale_out                            # two processes on two cores
    python -m benchmarks.ct_scale_out --devices cuda:0,cuda:1    # two GPUs, without Ray
    python -m benchmarks.ct_scale_out --quick                    # a smoke run

The same file of slices is reconstructed by the default method from file to file, by one worker
(on a CPU pinned to one core) and by as many as there are devices, in turns, `--rounds` times. The
workers are started and have done a slice each before the clock starts, as the projector's weights
and GPU kernels are made once a process; what starting took stands in a row of its own. The
first slices are compared with those of this process alone, bit for bit on a CPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bayesnn.executors.local import KeptWorkers, local_executor
from benchmarks.report import RESULTS, Report, command_line
from benchmarks.scaling.fit_speed import processor_seconds
from benchmarks.scaling.other_work import busy_cores
from benchmarks.scaling.slices_trial import Trial

MOST_SLICES, N_COMPARED = 16, 2
RUN_SECONDS = 25.0
NEEDED = {"cpu": 1.7, "cuda": 1.9}
HOW = (
    "Every worker has one thread. Times are of a whole call, from the scan's file to the result's, "
    "with workers that live already. The difference is over the largest value, of results with one "
    f"worker and with all, from {N_COMPARED} slices without an executor; 0 is bit for bit. "
    "Processor time is what would be left of wall time if nothing else ran."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the report after each round."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="cpu,cpu", help="of the workers, one each")
    parser.add_argument("--method", default="jackknife")
    parser.add_argument("--slices", type=int, help="(default 16; on GPUs what takes half a minute)")
    parser.add_argument("--side", type=int, help="pixels (default 64, on GPUs 128)")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a smoke run of fbp")
    options = parser.parse_args(words)
    devices = options.devices.split(",")
    kind = torch.device(devices[0]).type
    if options.quick:
        options.method, options.slices, options.side, options.views = "fbp", 4, 24, 12
    side = options.side or (64 if kind == "cpu" else 128)
    command = command_line("python", "-m", "benchmarks.ct_scale_out", *words)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), options.method, devices[0], side, options.views)
        trial.make(options.slices or MOST_SLICES)
        for times in measured(trial, devices, options.rounds, fixed=options.slices is not None):
            written = report(trial, devices, times, command).write(options.out)
    print(written.read_text())


@dataclass
class Times:
    """What was measured so far.

    Attributes:
        busy: cores that other work kept busy at the start.
        starting: seconds until all workers lived and had done a slice.
        one: seconds of runs by one worker.
        all: seconds of runs by all.
        busiest_one: processor seconds of the worker.
        busiest_all: processor seconds of the busiest worker.
        difference: largest from slices of this process, over the largest value.
    """

    busy: float
    starting: float = 0.0
    one: list[float] = field(default_factory=list)
    all: list[float] = field(default_factory=list)
    busiest_one: list[float] = field(default_factory=list)
    busiest_all: list[float] = field(default_factory=list)
    difference: float = 0.0


def measured(trial: Trial, devices: list[str], rounds: int, *, fixed: bool) -> Iterator[Times]:
    """Yield what was measured after each round.

    Args:
        trial: what is reconstructed.
        devices: of the workers.
        rounds: runs by one worker, and by all.
        fixed: whether the number of slices was said.
    """
    kind = torch.device(devices[0]).type
    times = Times(busy=busy_cores())
    began = time.perf_counter()
    with ExitStack() as stack:
        with _pinned(kind):
            one = stack.enter_context(local_executor(devices[:1], threads=1).kept())
            trial.run("warm.h5", one, n_slices=1)
        several = stack.enter_context(local_executor(devices, threads=1).kept())
        trial.run("warm.h5", several, n_slices=len(devices))
        times.starting = time.perf_counter() - began
        _say("workers started, and a slice each", times.starting)
        each = trial.run("warm.h5", one, n_slices=1)
        _say("a slice by one worker", each)
        if kind == "cuda" and not fixed:
            rows_of_all = min(MOST_SLICES, int(RUN_SECONDS / each)) // len(devices)
            trial.n_slices = max(1, rows_of_all) * len(devices)
        torch.set_num_threads(1)
        _say(f"{N_COMPARED} slices here", trial.run("here.h5", None, n_slices=N_COMPARED))
        for _ in range(rounds):
            _timed(trial, "one", one, times.one, times.busiest_one)
            _timed(trial, "all", several, times.all, times.busiest_all)
            times.difference = max(
                times.difference, *(trial.difference("here.h5", f"{n}.h5") for n in ("one", "all"))
            )
            yield times


def report(trial: Trial, devices: list[str], times: Times, command: str) -> Report:
    """Say how one worker and all compare."""
    kind = torch.device(devices[0]).type
    ratio, work_ratio = (
        statistics.median(single) / max(statistics.median(many), 0.01)
        for single, many in ((times.one, times.all), (times.busiest_one, times.busiest_all))
    )
    where = "pinned to one core" if kind == "cpu" else "on one GPU"
    return Report(
        name="ct_scale_out" if kind == "cpu" else "ct_scale_out_gpu",
        title=f"CT slices by {len(devices)} workers and by one",
        command=command,
        lead=(
            f"{len(devices)} workers ({', '.join(devices)}) are {ratio:.2f} times as fast as "
            f"one {where}, for {trial.n_slices} slices of {trial.side}² by {trial.method}; "
            f"{NEEDED[kind]:g} was asked for: {'met' if ratio >= NEEDED[kind] else 'MISSED'}."
        ),
        columns=("what", "measured"),
        rows=[
            (f"one worker {where}", _seconds(times.one)),
            (f"{len(devices)} workers", _seconds(times.all)),
            ("speed-up", f"{ratio:.2f}"),
            ("processor time of the worker", _seconds(times.busiest_one)),
            ("processor time of the busiest of all", _seconds(times.busiest_all)),
            ("their ratio", f"{work_ratio:.2f}"),
            ("cores that other work kept busy at the start", f"{times.busy:.1f}"),
            ("starting workers, first slices", _seconds([times.starting])),
            ("largest difference from one process", f"{times.difference:g}"),
        ],
        notes=[f"{trial.scan.n_views} views, {trial.scan.n_detectors} bins. {HOW}"],
    )


def _timed(
    trial: Trial, name: str, workers: KeptWorkers, seconds: list[float], busiest: list[float]
) -> None:
    before = processor_seconds(workers)
    seconds.append(trial.run(f"{name}.h5", workers))
    after = processor_seconds(workers)
    busiest.append(max(after[pid] - before.get(pid, 0.0) for pid in after))
    _say(f"{trial.n_slices} slices by {name}", seconds[-1])


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


def _say(what: str, seconds: float) -> None:
    print(f"{what}: {seconds:.1f} s", flush=True)


def _seconds(seconds: list[float]) -> str:
    return ", ".join(f"{s:.1f} s" for s in seconds)


if __name__ == "__main__":
    main()
