"""Run one method on one scan's slices: timed, limited, and never left out in silence."""

from __future__ import annotations

import gc
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

import ct
from benchmarks.failures import FAILURES, said
from benchmarks.reconstruction.methods import Entry
from benchmarks.reconstruction.records import Record
from benchmarks.reconstruction.scans import Simulated
from benchmarks.reconstruction.scores import slice_scores
from ct.problem import Method

_FORGET = Path("/proc/self/clear_refs")
KEPT = ("std_scale", "tv_weight", "chi_squared_per_ray", "excluded_members")


def run_entry(
    entry: Entry, data: Simulated, *, slices: Sequence[int], limit: float, until: float
) -> Iterator[Record]:
    """Reconstruct and score slice by slice.

    Args:
        entry: the variant.
        data: the scans.
        slices: numbers of the slices that it gets.
        limit: seconds that a slice may take.
        until: time.monotonic() after which none is begun.

    Yields:
        What was found, or why it was not: one record a slice, without set, views and method.
    """
    try:
        method = entry.make(data)
    except FAILURES as error:
        yield {"slice": slices[0], "error": said(error)}
        return
    for index in slices:
        if time.monotonic() > until:
            yield {"slice": index, "error": "not run: the time of the whole run was over"}
            return
        try:
            with at_most(limit):
                yield one_slice(method, data, index)
        except FAILURES as error:
            yield {"slice": index, "error": said(error)}
            return  # the other slices would fail alike, and cost as much
        finally:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def one_slice(method: Method | None, data: Simulated, index: int) -> Record:
    """Reconstruct and score a slice; the time is that of `ct.reconstruct`, projector included."""
    problem = data.problems[index]
    before = _reset_peak(problem.sinogram.device)
    begin = time.perf_counter()
    result = ct.reconstruct(
        problem.sinogram,
        data.scan,
        data.grid,
        method=method,
        noise_std=problem.noise_std,
        first_slice=index,
    )
    if problem.sinogram.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    peak = _peak(problem.sinogram.device) - before
    diagnostics = result.metadata["diagnostics"][0]
    return {
        "slice": index,
        "seconds": seconds,
        "memory": peak,
        "is": result.metadata["method"],
        "n_samples": result.n_samples,
        "settings": result.metadata["settings"],
        "calibration": result.metadata["calibration"],
        "diagnostics": {key: diagnostics[key] for key in KEPT if key in diagnostics},
        "regions": slice_scores(result, data.truth[index], data.regions[index]),
    }


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"stopped after {seconds:g} s a slice")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _reset_peak(device: torch.device) -> float:
    """Forget the greatest memory so far; return what is taken now, in bytes."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if _FORGET.exists():  # Linux
        _FORGET.write_text("5")
    return _status("VmRSS")


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    if _FORGET.exists():
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return 1024 * int(line.split()[1])
    return math.nan
