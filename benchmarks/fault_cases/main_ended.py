"""The main process is killed or interrupted while workers that it started are at work."""

from __future__ import annotations

import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.fault_cases.case import FaultCase, Outcome
from benchmarks.fault_cases.pools import check_ray
from benchmarks.fault_cases.reconstruction_killed import scan
from tests.ct.workflow_runs import finished
from tests.faults.children import Child, started
from tests.faults.families import left_in_temporary_folders, local_workers, seconds_until_gone
from tests.faults.kept_by_workers import (
    N_MEMBERS,
    N_SLICES,
    fit_by_workers,
    reconstruct_by_workers,
    result_of,
)
from tests.faults.kept_reconstructions import content_of
from tests.faults.whole_files import assert_checkpoint_is_whole
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole

STEPS = 200
PATIENCE = {"local": 10.0, "ray": 120.0}
"""Seconds in which all processes have to be gone. Two of Ray's own, which do nothing any more, may
wait for a minute for the answer of one that was killed before them."""
LEFT = {"local": [], "ray": ["ray"]}
"""What may be left in the temporary folder: Ray's logs."""

Start = Callable[..., Child]
"""(folder, "local" or "ray" workers, own_group=whether Ctrl-C can be sent to all its processes,
as_ctrl_c=whether SIGTERM is Ctrl-C to it) to a process"""


def fitting(folder: Path, where: str, *, own_group: bool = False, as_ctrl_c: bool = False) -> Child:
    """Start a fit."""
    work = partial(fit_by_workers, steps=STEPS, own_group=own_group, as_ctrl_c=as_ctrl_c)
    return started(work, folder, where)


def reconstructing(
    folder: Path,
    where: str,
    *,
    own_group: bool = False,
    as_ctrl_c: bool = False,  # noqa: ARG001
) -> Child:
    """Start a reconstruction by the command line, to which SIGTERM is Ctrl-C always."""
    work = partial(reconstruct_by_workers, own_group=own_group)
    return started(work, scan(N_SLICES), folder, where)


def ended(child: Child) -> tuple[Any, int | None]:
    """Wait for the end; return the last thing that was said, and the exit code."""
    last = None
    try:
        while True:
            last = child.said()
    except EOFError:
        child.process.join(60)
    return last, child.process.exitcode


def result(folder: Path, where: str, start: Start) -> str:
    """Work to the end; return the digest of the result."""
    last, code = ended(start(folder, where))
    assert code == 0, (folder / "said").read_text()[-1000:]
    return str(last) if start is fitting else content_of(result_of(folder))


@cache
def undisturbed(where: str, start: Start) -> str:
    """Return the result of a run that nothing befell."""
    with tempfile.TemporaryDirectory() as folder:
        return result(Path(folder), where, start)


def n_kept(folder: Path, start: Start) -> int:
    """Fail where a file is half-written; return how many members or slices are finished."""
    if start is reconstructing:
        return len(assert_reconstruction_is_whole(result_of(folder)))
    assert_checkpoint_is_whole(folder / "fit")
    return sum(2 for _ in (folder / "fit").glob("members-*"))


def killed(number: int, folder: Path, *, where: str, start: Start) -> Outcome:
    """Kill −9 the main process at a random moment, every third time with a stopped worker."""
    bits, rng = undisturbed(where, start), random.Random(number)
    child = start(folder, where)
    _wait(rng, folder, start, child)
    workers = local_workers(folder) if where == "local" and number % 3 == 0 else []
    for worker in rng.sample(workers, min(1, len(workers))):
        os.kill(worker, signal.SIGSTOP)
    struck = child.kill()
    clean = _nothing_is_left(folder, where)
    n_kept(folder, start)
    return Outcome(struck=struck, survived=clean, equal=result(folder, where, start) == bits)


def interrupted(number: int, folder: Path, *, start: Start) -> Outcome:
    """Press Ctrl-C at a random moment, which a terminal sends to all processes."""
    child = start(folder, "local", own_group=True)
    _wait(random.Random(number), folder, start, child)
    if child.process.exitcode is None and child.process.pid is not None:
        os.killpg(child.process.pid, signal.SIGINT)
    return _after_ctrl_c(folder, start, child)


def terminated(number: int, folder: Path, *, start: Start) -> Outcome:
    """Send SIGTERM to the main process alone; in half of the cases fits take it as Ctrl-C."""
    as_ctrl_c = start is reconstructing or number % 2 == 0
    child = start(folder, "local", as_ctrl_c=as_ctrl_c)
    _wait(random.Random(number), folder, start, child)
    child.send(signal.SIGTERM)
    if as_ctrl_c:
        return _after_ctrl_c(folder, start, child)
    _, code = ended(child)
    clean = _nothing_is_left(folder, "local")
    n_kept(folder, start)
    equal = result(folder, "local", start) == undisturbed("local", start)
    return Outcome(
        struck=code == -signal.SIGTERM, survived=clean and not _tracebacks(folder), equal=equal
    )


def _wait(rng: random.Random, folder: Path, start: Start, child: Child) -> None:
    """Wait for some seconds while workers start, or until some parts are finished and a bit."""
    assert child.said() == "there"
    n_parts = rng.randrange(-1, 4 if start is fitting else N_SLICES)
    if n_parts < 0:
        time.sleep(rng.uniform(0.1, 4))
    while _n_finished(folder, start) < n_parts and child.process.exitcode is None:
        time.sleep(0.01)
    time.sleep(0.3 * rng.random())


def _n_finished(folder: Path, start: Start) -> int:
    """Count while another process is at it."""
    if start is fitting:
        return len(list((folder / "fit").glob("members-*")))
    return len(finished(result_of(folder)))


def _after_ctrl_c(folder: Path, start: Start, child: Child) -> Outcome:
    """Look at what is left: it said truly what is kept, and no more; then go on."""
    began = time.monotonic()
    last, code = ended(child)
    seconds = time.monotonic() - began
    clean = _nothing_is_left(folder, "local")
    said = (folder / "said").read_text() + (str(last) if start is fitting else "")
    struck = code == 130 or "interrupted" in said
    match = re.search(rf"(\d+) of {N_MEMBERS if start is fitting else N_SLICES} ", said)
    # it may come between writing and counting: then one more is kept than is said
    truly = n_kept(folder, start) - (int(match[1]) if match else 0) in {0, 1, 2}
    return Outcome(
        struck=struck,
        # a fit ends with the next step that a worker tells of, once one has come up
        survived=clean and seconds < 60 and not _tracebacks(folder) and (truly or not struck),
        equal=result(folder, "local", start) == undisturbed("local", start),
    )


def _nothing_is_left(folder: Path, where: str) -> bool:
    seconds_until_gone(folder, PATIENCE[where])
    return left_in_temporary_folders(folder) in ([], LEFT[where])


def _tracebacks(folder: Path) -> bool:
    return "Traceback" in (folder / "said").read_text()


@contextmanager
def _ray_is_here() -> Iterator[None]:
    check_ray()
    yield


_JOBS = (("fit", fitting), ("reconstruct", reconstructing))

CASES = (
    *(
        FaultCase(
            name=f"{what}: kill −9 of the main process, two {where} workers",
            tries=tries, quick=1, attempt=partial(killed, where=where.lower(), start=start),
            around=around,
        )
        for what, start in _JOBS
        for where, tries, around in (("local", 8, nullcontext), ("Ray", 3, _ray_is_here))
    ),
    *(
        FaultCase(
            name=f"{what}: {how}, two local workers", tries=4, quick=1,
            attempt=partial(attempt, start=start),
        )
        for what, start in _JOBS
        for how, attempt in (
            ("Ctrl-C to all processes", interrupted),
            ("SIGTERM to the main process", terminated),
        )
    ),
)  # fmt: skip
