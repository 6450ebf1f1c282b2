"""What do more workers bring, and what do they cost? Members of an ensemble, and tasks alone.

    python -m benchmarks.scale_out [--quick] [--devices cpu,cpu | cuda:0,cuda:1] [--no-ray]

Compares a fit of 16 members by all devices with one by the first of them, in turn within one run;
measures what a task costs that does nothing; and runs 2,000 tasks on 16 workers of Ray, whose cores
are only said to be there. Without Ray (`--no-ray`, or where it is not installed) the parts that
need it are left out. With one device (`--devices cuda:0`) it says what half of the members take
there: what two such devices could bring at most, where there is one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch

from bayesnn.executors import Executor, local_executor, ray_executor
from benchmarks.report import RESULTS, Report, command_line
from benchmarks.scaling import fit_speed, tasks
from benchmarks.scaling.other_work import busy_cores

BESIDE = ", so times and ratios are those of a shared machine."
PROJECTED = "their ratio: the most that two such devices could bring (projected, not measured)"
N_TASKS, N_RAY_WORKERS = 2000, 16


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--devices", default="cpu,cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    devices = given.devices.split(",")
    on_gpu = devices[0].startswith("cuda")
    size = fit_speed.QUICK if given.quick else fit_speed.GPU if on_gpu else fit_speed.CPU
    rounds = 1 if given.quick else given.rounds
    with_ray = importlib.util.find_spec("ray") is not None and not given.no_ray and not on_gpu
    busy = busy_cores()

    local = _local if len(devices) > 1 else _halves
    parts = [local(devices, size, rounds, n_tasks=20 if given.quick else 500)]
    if with_ray and len(devices) > 1:
        parts.append(_ray(devices, size, rounds, quick=given.quick))
    finished: list[tuple[str, ...]] = []
    for part in parts:
        rows: list[tuple[str, ...]] = []
        for rows in part:  # so that a run which is cut off leaves what it has
            report = Report(
                name=("scale_out" if len(devices) > 1 else "scale_out_one") + "_gpu" * on_gpu,
                title="What more workers bring, and what they cost",
                command=command_line(
                    "python", "-m", "benchmarks.scale_out", *(arguments or sys.argv[1:])
                ),
                columns=("executor", "question", "measured", "wanted"),
                rows=finished + rows,
                lead=_lead(finished + rows, busy),
                notes=_notes(size, devices, busy, with_ray, given.note),
            )
            print(report.write(given.out), flush=True)
        finished += rows


def _local(
    devices: list[str], size: fit_speed.Size, rounds: int, n_tasks: int
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the rows so far, again and again."""
    threads = 1 if devices[0] == "cpu" else None
    with ExitStack() as until_the_end:
        one = until_the_end.enter_context(local_executor(devices[:1], threads=threads).kept())
        every = until_the_end.enter_context(local_executor(devices, threads=threads).kept())
        began = time.perf_counter()
        fit_speed.fit(every, fit_speed.QUICK)  # starts the workers
        start = time.perf_counter() - began
        fit_speed.fit(one, fit_speed.QUICK)
        rows = [
            ("local", "starting all workers, with a tiny fit", f"{start:.1f} s", ""),
            _overhead("local", tasks.overhead(one, n_tasks)),
        ]
        for speed in fit_speed.measure(one, every, size, rounds):
            yield _speed("local", speed, every, size) + rows


def _halves(
    devices: list[str], size: fit_speed.Size, rounds: int, n_tasks: int
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the rows so far, again and again."""
    with local_executor(devices, threads=1 if devices[0] == "cpu" else None).kept() as one:
        fit_speed.fit(one, fit_speed.QUICK)
        cost = _overhead("local", tasks.overhead(one, n_tasks))
        for whole, half in fit_speed.halves(one, size, rounds):
            ratio = statistics.median(whole) / statistics.median(half)
            yield [
                ("local", f"{fit_speed.N_MEMBERS} members by one worker", _times(whole), ""),
                ("local", f"{fit_speed.N_MEMBERS // 2} members by one worker", _times(half), ""),
                ("local", PROJECTED, f"{ratio:.2f}", ""),
                cost,
            ]


def _ray(
    devices: list[str], size: fit_speed.Size, rounds: int, quick: bool
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the rows so far, again and again."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    n_tasks = 40 if quick else N_TASKS
    n_fake = 2 if quick else N_RAY_WORKERS
    started = {
        "address": "local", "include_dashboard": False, "log_to_driver": False,
        "logging_level": "ERROR",
    }  # fmt: skip
    rows: list[tuple[str, ...]] = []
    began = time.perf_counter()
    ray.init(num_cpus=len(devices), **started)
    start = time.perf_counter() - began
    try:
        # who takes most of the memory is alone, with one core
        most = int(0.9 * ray.cluster_resources()["memory"])
        with ray_executor(cpus=1, memory=most).kept() as one, ray_executor(cpus=1).kept() as every:
            for executor in (one, every):
                fit_speed.fit(executor, fit_speed.QUICK if quick else fit_speed.WARM)
            others = [
                ("Ray", "starting it on this machine", f"{start:.1f} s", ""),
                _overhead("Ray", tasks.overhead(one, 20 if quick else 500)),
            ]
            for speed in fit_speed.measure(one, every, size, rounds):
                rows = _speed("Ray", speed, every, size) + others
                yield rows
    finally:
        ray.shutdown()
    ray.init(num_cpus=n_fake, **started)
    try:
        with ray_executor().kept() as executor:
            seconds, peak = tasks.many(executor, n_tasks)
    finally:
        ray.shutdown()
    what = f"{n_tasks} tasks of {1e3 * tasks.WAIT:.0f} ms on {n_fake} workers, a MiB each"
    lost = "none lost, none twice, all right"
    rows.append(("Ray", f"{what}: results", lost, "none lost"))
    rows.append(("Ray", f"{what}: largest memory of the driver", f"{peak / 1e6:.0f} MB", "< 1 GB"))
    rows.append(("Ray", f"{what}: time", f"{seconds:.1f} s", ""))
    yield rows


def _speed(
    name: str, speed: fit_speed.Speed, every: Executor, size: fit_speed.Size
) -> list[tuple[str, ...]]:
    n_workers = every.n_workers()
    wanted = f"≥ {0.85 if every.device_type == 'cpu' else 0.95:.2f} × {n_workers}"
    single, many = (statistics.median(times) for times in (speed.one, speed.all))
    computed = []
    if speed.busiest[0]:
        single_cpu, many_cpu = (statistics.median(times) for times in speed.busiest)
        said = f"{single_cpu:.1f} s by one, {many_cpu:.1f} s by all: {single_cpu / many_cpu:.2f}"
        computed = [(name, "processor time of the busiest worker", said, "")]
    return [
        (name, f"{fit_speed.N_MEMBERS} members by one worker", _times(speed.one), ""),
        (name, f"{fit_speed.N_MEMBERS} members by {n_workers}", _times(speed.all), ""),
        (name, "how many times as fast", f"{single / many:.2f}", wanted),
        *computed,
        (name, "largest relative difference of parameters", f"{speed.difference:.1e}",
         "≤ 1e-10" if size.dtype == torch.float64 else ""),
        (name, "draws equal bit for bit", "yes" if speed.draws_equal else "NO", "yes"),
    ]  # fmt: skip


def _times(seconds: list[float]) -> str:
    each = ", ".join(f"{one:.1f}" for one in seconds)
    return f"{statistics.median(seconds):.1f} s (each: {each})"


def _overhead(name: str, seconds: float) -> tuple[str, ...]:
    return (name, "a task that does nothing, one worker", f"{1e3 * seconds:.1f} ms", "< 50 ms")


def _lead(rows: list[tuple[str, ...]], busy: float) -> str:
    said = [
        f"{name}: {measured} times as fast (wanted {wanted})"
        for name, question, measured, wanted in rows
        if question == "how many times as fast"
    ] + [
        f"One device alone: half of the members take 1/{measured} of the time of all. Two devices "
        "were not measured"
        for _, question, measured, _ in rows
        if question == PROJECTED
    ]
    shared = f" Other work kept {busy:.1f} cores busy, so ratios of wall time mean little."
    return "; ".join(said) + "." + (shared if busy > 0.3 else "")


def _notes(
    size: fit_speed.Size, devices: list[str], busy: float, with_ray: bool, note: str
) -> list[str]:
    members = (
        f"Members: NTKGP-param, an MLP of two layers of {size.width}, {size.rows} rows, Adam with "
        f"{size.steps} steps of {size.batch} rows, {str(size.dtype).removeprefix('torch.')}. "
        f"Devices: {', '.join(devices)}; a CPU worker has one thread. Workers run already; a "
        "time is that of the whole fit, with the data's way there and the members' way back. Fits "
        "by one worker and by all take turns (one, all, all, one, …); the ratio is of medians. "
        "Processor time is what would be left of wall time if nothing else ran."
    )
    machine = (
        f"Other work kept {busy:.1f} of {len(os.sched_getaffinity(0))} cores busy when this began"
        + (BESIDE if busy > 0.3 else ".")
    )
    notes = [members, machine]
    if not with_ray:
        notes.append("Ray was not measured in this run.")
    return [*notes, note] if note else notes


if __name__ == "__main__":
    main()
