"""Kill −9 of reconstructions from file to file."""

from __future__ import annotations

import atexit
import random
import signal
import tempfile
import time
from functools import cache
from pathlib import Path
from shutil import rmtree

from benchmarks.fault_cases.case import FaultCase, Outcome
from tests.faults.children import ran, started
from tests.faults.kept_reconstructions import (
    reconstruction,
    scan_of_slices,
    walk,
    walk_killed_in,
)
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole


@cache
def scan(n_slices: int = 4) -> Path:
    """Return a scan, made once, and removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="bayesnn-scan-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    return scan_of_slices(folder, n_slices)


@cache
def undisturbed() -> tuple[str, float]:
    """Return the result of a run that nothing befell, and its seconds in a child."""
    with tempfile.TemporaryDirectory() as folder:
        return ran(reconstruction, scan(), Path(folder) / "rec.h5")


@cache
def walked() -> str:
    """Return the result of a run of few steps."""
    with tempfile.TemporaryDirectory() as folder:
        return str(ran(walk, scan(), Path(folder) / "rec.h5")[0])


@cache
def n_operations() -> int:
    """Return how many file operations a run of few steps does."""
    with tempfile.TemporaryDirectory() as folder:
        return int(ran(walk_killed_in, scan(), Path(folder) / "rec.h5", 0)[0])


def killed_at_a_moment(number: int, folder: Path) -> Outcome:
    """Kill a run at a random moment, and what goes on from there in half of the cases too."""
    bits, seconds = undisturbed()
    rng, output, finished = random.Random(number), folder / "rec.h5", 0
    struck, kept = False, True
    for _ in range(rng.choice([1, 2])):
        child = started(reconstruction, scan(), output)
        time.sleep(rng.random() * seconds)
        struck = child.kill() or struck
        chunks = assert_reconstruction_is_whole(output)
        kept = kept and (output.exists() or finished <= len(chunks) == len(set(chunks)))
        finished = len(chunks)
    found = ran(reconstruction, scan(), output)[0]
    return Outcome(struck=struck, survived=kept and _only(output), equal=found == bits)


def killed_in_an_operation(number: int, folder: Path) -> Outcome:
    """Kill a run in its file operation of that number, in the midst of a write half written."""
    output = folder / "rec.h5"
    child = started(walk_killed_in, scan(), output, number + 1)
    child.process.join(60)
    assert_reconstruction_is_whole(output)
    found = ran(walk, scan(), output)[0]
    return Outcome(
        struck=child.process.exitcode == -signal.SIGKILL or number >= n_operations(),
        survived=_only(output),
        equal=found == walked(),
    )


def _only(output: Path) -> bool:
    """Return whether nothing but results stands there; a probe of the folder has no content."""
    left = [path for path in output.parent.iterdir() if path.name.startswith(".")]
    return output.exists() and all(path.is_file() and not path.stat().st_size for path in left)


CASES = (
    FaultCase(
        name="reconstruct: kill −9 at a random moment",
        tries=100,
        quick=2,
        attempt=killed_at_a_moment,
    ),
    FaultCase(
        name="reconstruct: kill −9 in each file operation, writes half done",
        tries=220,
        quick=2,
        attempt=killed_in_an_operation,
    ),
)
