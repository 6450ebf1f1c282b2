"""Reconstructions whose files are damaged, whose disk fails, who are interrupted or not alone."""

from __future__ import annotations

import random
import signal
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

from benchmarks.fault_cases.case import FaultCase, NotPossibleError, Outcome
from benchmarks.fault_cases.reconstruction_killed import scan
from ct.partial_result import journal_path, partial_path, state_path
from tests.ct.workflow_runs import interrupt_after
from tests.faults.children import started
from tests.faults.damage import DAMAGES
from tests.faults.kept_reconstructions import (
    content_of,
    reconstructed,
    slow_walk,
    use_walk,
    walk_that_loses_permission,
)
from tests.faults.small_disk import MountError, fill, small_disk
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole

STEPS = 6


@cache
def undisturbed(steps: int) -> str:
    """Return the result of a run that nothing befell."""
    use_walk(steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        return reconstructed(scan(), Path(folder) / "rec.h5")


def damaged(number: int, folder: Path) -> Outcome:
    """Damage one file of an interrupted run: it is named, and nothing of it is believed."""
    bits, rng, output = undisturbed(STEPS), random.Random(number), folder / "rec.h5"
    use_walk(steps=STEPS)
    interrupted(output, rng.uniform(0.3, 3.7))
    states = sorted(state_path(output).glob("[!.]*"))
    path = rng.choice([partial_path(output), journal_path(output), *states[:1]])
    rng.choice(list(DAMAGES.values()))(path, rng)
    found, said = resumed(output)
    if "nothing says of which work" in found:  # refused, by name, with what to do
        for left in (partial_path(output), journal_path(output)):
            left.unlink()
        return Outcome(struck=True, survived=path.name in found, equal=resumed(output)[0] == bits)
    named = all(path.name in one for one in said)
    return Outcome(struck=True, survived=named, equal=found == bits)


def full_disk(number: int, folder: Path) -> Outcome:
    """Fill the disk at a random time; what is finished is kept, and said to be."""
    bits, rng = undisturbed(STEPS), random.Random(number)
    use_walk(steps=STEPS)
    at, ballast = rng.uniform(0, 3.9), []
    try:
        with small_disk(folder / "disk", 256) as disk:
            output = disk / "rec.h5"

            def fill_up(done: float, _: float) -> None:
                if done >= at and not ballast:
                    ballast.append(fill(disk, leaving=rng.choice([0, 0, 4, 8])))

            found, _ = resumed(output, fill_up)
            full = "No space left on device" in found
            ballast[0].unlink()
            kept = len(assert_reconstruction_is_whole(output))
            right = found == bits or (full and (f"{kept} of 4" in found or not kept))
            return Outcome(struck=full, survived=right, equal=reconstructed(scan(), output) == bits)
    except MountError as error:
        raise NotPossibleError(f"no right to mount: {error}") from error


def permission_lost(number: int, folder: Path) -> Outcome:
    """Take the permission to write at a random time, and give it back after the run."""
    output = folder / "out" / "rec.h5"
    output.parent.mkdir()
    child = started(walk_that_loses_permission, scan(), output, random.Random(number).uniform(0, 4))
    answer = child.result()
    for path in (output.parent, state_path(output)):
        if path.exists():
            path.chmod(0o755)
    if isinstance(answer, str):
        raise NotPossibleError(answer)
    kept = assert_reconstruction_is_whole(output)
    bits = undisturbed(STEPS)
    use_walk(steps=STEPS)
    return Outcome(
        struck="Permission denied" in answer[1],
        survived=f"{len(kept)} of 4 slices are kept" in answer[1],
        equal=reconstructed(scan(), output) == bits,
    )


def ctrl_c(number: int, folder: Path) -> Outcome:
    """Ctrl-C at a random time, in half of the cases once more soon after."""
    rng, output = random.Random(number), folder / "out" / "rec.h5"
    output.parent.mkdir()
    child = started(slow_walk, scan(), output)
    assert child.said() == "working"
    time.sleep(rng.uniform(0.3, 2.5))
    child.send(signal.SIGINT)
    if number % 2:
        time.sleep(rng.uniform(0, 0.02))
        child.send(signal.SIGINT)
    began = time.monotonic()
    code = child.result()
    seconds = time.monotonic() - began
    _aside(output)
    kept = assert_reconstruction_is_whole(output)
    again = started(slow_walk, scan(), output, ("--resume",))
    right = (again.said(), again.result()) == ("working", 0)
    return Outcome(
        struck=code == 130,
        survived=right and seconds < 20 and len(kept) == len(set(kept)),
        equal=content_of(output) == undisturbed(60),
    )


def two_at_once(number: int, folder: Path) -> Outcome:
    """Two or three processes reconstruct into one file: one wins, the others say so."""
    outputs = [folder / "out" / "rec.h5" for _ in range(2 + number % 2)]
    outputs[0].parent.mkdir()
    children = [started(slow_walk, scan(), output) for output in outputs]
    codes = sorted((child.said(), child.result())[1] for child in children)
    _aside(outputs[0])
    assert_reconstruction_is_whole(outputs[0])
    return Outcome(
        struck=codes[-1] == 2,
        survived=codes == [0] + [2] * (len(codes) - 1),
        equal=content_of(outputs[0]) == undisturbed(60),
    )


def interrupted(output: Path, done: float) -> None:
    """Reconstruct until so many slices are done, and press Ctrl-C."""
    try:
        reconstructed(scan(), output, progress=interrupt_after(done, 4))
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")


def resumed(output: Path, progress: object = None) -> tuple[str, list[str]]:
    """Go on; return the result's digest or the error, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = reconstructed(scan(), output, progress=progress)
        except ValueError as error:
            result = str(error)
    return result, [str(one.message) for one in caught]


def _aside(output: Path) -> None:
    """Take away what the processes said, which is no file of the run."""
    output.with_suffix(".err").unlink(missing_ok=True)


CASES = (
    FaultCase(name="reconstruct: damaged files", tries=120, quick=3, attempt=damaged),
    FaultCase(name="reconstruct: the disk is full", tries=40, quick=1, attempt=full_disk),
    FaultCase(
        name="reconstruct: permission is lost midway", tries=20, quick=1, attempt=permission_lost
    ),
    FaultCase(name="reconstruct: Ctrl-C once or twice", tries=40, quick=1, attempt=ctrl_c),
    FaultCase(name="reconstruct: two or three at one file", tries=10, quick=1, attempt=two_at_once),
)
