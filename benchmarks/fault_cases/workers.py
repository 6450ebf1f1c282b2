"""Fits and reconstructions whose workers are killed, hang, or leave with their machine."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bayesnn.executors import Executor
from benchmarks.fault_cases.case import FaultCase, Outcome
from benchmarks.fault_cases.pools import (
    Pool,
    a_machine_leaves,
    half_are_killed,
    local_pool,
    one_hangs,
    one_is_killed,
    ray_machines,
    ray_pool,
    who_hears_hangs,
)
from benchmarks.fault_cases.reconstruction_killed import scan
from ct.partial_result import PartialResult
from ensembles import adam
from ensembles.open_checkpoint import OpenCheckpoint
from tests.ensembles.checkpointed import all_bits, fit
from tests.faults.kept_reconstructions import reconstructed, use_walk

N_SLICES, N_MEMBERS, STEPS = 12, 12, 250

Job = Callable[[Path, Executor | None, Callable[[], None]], tuple[str, bool]]
"""(folder, executor, what to call at each sign of work) to (result's digest, whether each part of
it was put there once)."""


def fitted(folder: Path, executor: Executor | None, sign: Callable[[], None]) -> tuple[str, bool]:
    """Fit two members at a time, kept in a folder."""
    with _noted(OpenCheckpoint, "finish") as finished:
        found = fit(
            n_members=N_MEMBERS,
            trainer=adam(steps=STEPS),
            executor=executor,
            checkpoint=folder / "fit",
            callback=lambda _: sign(),
        )
    return all_bits(found), sorted(members.start for members in finished) == list(
        range(0, N_MEMBERS, 2)
    )


def rebuilt(folder: Path, executor: Executor | None, sign: Callable[[], None]) -> tuple[str, bool]:
    """Reconstruct slice by slice."""
    use_walk(steps=30, pause=0.02)
    with _noted(PartialResult, "write") as written:
        digest = reconstructed(
            scan(N_SLICES), folder / "rec.h5", executor=executor, progress=lambda *_: sign()
        )
    traces = [path for path in folder.iterdir() if path.name.startswith(".rec.h5.")]
    return digest, sorted(written) == list(range(N_SLICES)) and not any(
        path.is_dir() or path.stat().st_size for path in traces
    )


@cache
def undisturbed(job: Job) -> str:
    """Return the result of a job that one process does."""
    with tempfile.TemporaryDirectory() as folder:
        return job(Path(folder), None, lambda: None)[0]


@dataclass(kw_only=True)
class WorkersHit:
    """A job whose workers meet a fault at random moments.

    Attributes:
        job: what they do.
        open_pool: who they are.
        fault: what befalls them; it returns how many were hit.
        times: how often in one run.
    """

    job: Job
    open_pool: Callable[[], AbstractContextManager[Pool]]
    fault: Callable[[Pool, random.Random], int]
    times: int
    _pool: Pool | None = field(default=None, init=False)
    _seconds: float = field(default=0.0, init=False)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Start the workers, and take the time of a job with them.

        Yields:
            Nothing.
        """
        with self.open_pool() as self._pool:
            self._time_of_a_job()  # workers are still starting
            self._seconds = self._time_of_a_job()
            yield

    def _time_of_a_job(self) -> float:
        began: list[float] = []
        assert self._pool is not None
        with tempfile.TemporaryDirectory() as folder:
            self.job(Path(folder), self._pool.executor, lambda: began.append(time.monotonic()))
        return time.monotonic() - began[0]

    def attempt(self, number: int, folder: Path) -> Outcome:
        """Do the job, with faults at random moments after the first sign of work."""
        pool, rng = self._pool, random.Random(number)
        assert pool is not None
        pool.processes()  # a machine that has left comes back
        hit: list[int] = []
        moments = [0.8 * self._seconds * rng.random() for _ in range(self.times)]
        timers = [
            threading.Timer(moment, lambda: hit.append(self.fault(pool, rng))) for moment in moments
        ]
        begun = threading.Event()

        def sign() -> None:
            if not begun.is_set():
                begun.set()
                for timer in timers:
                    timer.start()

        digest, once = self.job(folder, pool.executor, sign)
        struck = any(hit)
        for timer in timers:
            timer.cancel()
            if timer.ident is not None:
                timer.join()
        return Outcome(struck=struck, survived=once, equal=digest == undisturbed(self.job))


@contextmanager
def _noted(owner: type, name: str) -> Iterator[list[object]]:
    """Yield a list of the first arguments that a method is called with."""
    calls: list[object] = []
    method = getattr(owner, name)

    def noting(self: object, first: object, *words: object) -> None:
        calls.append(first)
        method(self, first, *words)

    setattr(owner, name, noting)
    try:
        yield calls
    finally:
        setattr(owner, name, method)


def _case(
    name: str,
    job: Job,
    open_pool: Callable[[], AbstractContextManager[Pool]],
    fault: Callable[[Pool, random.Random], int],
    *,
    tries: int,
    times: int = 1,
) -> FaultCase:
    hit = WorkersHit(job=job, open_pool=open_pool, fault=fault, times=times)
    return FaultCase(name=name, tries=tries, quick=1, attempt=hit.attempt, around=hit.around)


_JOBS = (("fit", fitted), ("reconstruct", rebuilt))
_POOLS = (("four local workers", local_pool), ("four Ray workers", ray_pool))

CASES = (
    *(
        case
        for what, job in _JOBS
        for who, pool in _POOLS
        for case in (
            _case(f"{what}: kill −9 of one of {who}", job, pool, one_is_killed, tries=8),
            _case(
                f"{what}: kill −9 of half of {who} at once, twice", job, pool, half_are_killed,
                tries=8, times=2,
            ),
            _case(f"{what}: one of {who} hangs", job, pool, one_hangs, tries=3),
        )
    ),
    *(
        _case(f"{what}: a machine of a Ray cluster leaves", job, ray_machines, a_machine_leaves,
              tries=4)
        for what, job in _JOBS
    ),
    *(
        _case(f"{what}: who hears of four Ray workers hangs", job, ray_pool, who_hears_hangs,
              tries=3)
        for what, job in _JOBS
    ),
)  # fmt: skip
