"""A reconstruction's machine goes away for good; another goes on from `--checkpoint`."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from functools import cache
from pathlib import Path
from shutil import rmtree

from benchmarks.fault_cases.case import FaultCase, Outcome
from benchmarks.fault_cases.reconstruction_killed import scan, undisturbed, walked
from ct.copied_chunk import FORMAT, VERSION
from ct.state_files import FORMAT as STATE_FORMAT
from ct.state_files import VERSION as STATE_VERSION
from ensembles.tensor_file import read_tensor_file
from tests.faults.children import ran, started
from tests.faults.kept_reconstructions import reconstruction, walk, walk_killed_in

N_OPERATIONS = 60  # that are tried, evenly among all


@cache
def seconds() -> float:
    """Return the seconds of a run with a checkpoint that nothing befell, in a child."""
    taken = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            output, kept = _machine(Path(folder), "whole")
            taken.append(ran(reconstruction, scan(), output, kept)[1])
    return min(taken)


@cache
def n_operations() -> int:
    """Return how many file operations a run of few steps does."""
    with tempfile.TemporaryDirectory() as folder:
        output, kept = _machine(Path(folder), "whole")
        return int(ran(walk_killed_in, scan(), output, 0, kept)[0])


def lost_at_a_moment(number: int, folder: Path) -> Outcome:
    """Kill −9 at a random moment; in half of the cases the second machine is lost too."""
    rng, struck = random.Random(number), False
    for name in ["first", "second"][: rng.choice([1, 2])]:
        output, kept = _machine(folder, name)
        child = started(reconstruction, scan(), output, kept)
        time.sleep(rng.random() * seconds())
        struck = child.kill() or struck
        _assert_is_whole(kept)
        rmtree(output.parent)
    output, kept = _machine(folder, "last")
    found = ran(reconstruction, scan(), output, kept)[0]
    return Outcome(struck=struck, survived=_only(output, kept), equal=found == undisturbed()[0])


def lost_in_an_operation(number: int, folder: Path) -> Outcome:
    """Kill −9 in a file operation of either place, a write half done."""
    output, kept = _machine(folder, "first")
    operation = 1 + number * n_operations() // N_OPERATIONS
    child = started(walk_killed_in, scan(), output, operation, kept)
    child.process.join(60)
    _assert_is_whole(kept)
    rmtree(output.parent)
    output, kept = _machine(folder, "last")
    found = ran(walk, scan(), output, kept)[0]
    return Outcome(
        struck=child.process.exitcode == -signal.SIGKILL,
        survived=_only(output, kept),
        equal=found == walked(),
    )


def _machine(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the output on a machine that has seen nothing, and the checkpoint that all share."""
    (folder / name).mkdir()
    return folder / name / "rec.h5", folder / "kept"


def _assert_is_whole(kept: Path) -> None:
    """Read all files of a checkpoint but those whose names say that they are temporary."""
    for path in kept.glob("[!.]*"):
        slices = path.name.startswith("slices-")
        assert slices or path.name.startswith("state-"), path.name
        read_tensor_file(
            path,
            file_format=FORMAT if slices else STATE_FORMAT,
            version=VERSION if slices else STATE_VERSION,
        )


def _only(output: Path, kept: Path) -> bool:
    """Return whether the result and its slices are all that is left, but for empty files."""
    left = [path for path in output.parent.iterdir() if path != output and path.stat().st_size]
    return not left and all(path.name.startswith("slices-") for path in kept.glob("[!.]*"))


CASES = (
    FaultCase(
        name="reconstruct: kill −9 at a random moment, its machine lost", tries=20, quick=1,
        attempt=lost_at_a_moment,
    ),
    FaultCase(
        name="reconstruct: kill −9 in 60 file operations, its machine lost", tries=N_OPERATIONS,
        quick=1, attempt=lost_in_an_operation,
    ),
)  # fmt: skip
