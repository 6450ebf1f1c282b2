"""Checkpoints of newer versions and of other runs, and targets that cannot be written at all."""

from __future__ import annotations

import json
import random
from pathlib import Path

from benchmarks.fault_cases.case import FaultCase, NotPossibleError, Outcome
from benchmarks.fault_cases.reconstruction_states import (
    STEPS,
    interrupted,
    resumed,
    undisturbed,
)
from ct.earlier_run import _VERSION
from ct.journal import _digest
from ct.partial_result import journal_path, partial_path, state_path
from tests.ensembles.checkpointed import fit
from tests.ensembles.test_checkpoint_damage import rewritten
from tests.faults.children import ran, started
from tests.faults.kept_fits import bits_of_a_fit, fit_that_waits, kept_fit
from tests.faults.kept_reconstructions import use_walk
from tests.faults.small_disk import MountError, make_read_only, small_disk


def newer_fit(number: int, folder: Path) -> Outcome:
    """Refuse a fit's file of a newer version by name, and leave all as it is."""
    child = started(fit_that_waits, folder, (2, 5))
    child.said()
    child.kill()
    path = max(folder.glob(("members-*", "training-*")[number % 2]))
    old = path.read_bytes()
    rewritten(path, version="3")
    before = _files(folder)
    try:
        fit(checkpoint=folder)
        said = ""
    except ValueError as error:
        said = str(error)
    refused = path.name in said and "version 3" in said and _files(folder) == before
    path.write_bytes(old)
    bits = ran(kept_fit, folder)[0]
    return Outcome(struck=True, survived=refused, equal=bits == bits_of_a_fit())


def newer_reconstruction(number: int, folder: Path) -> Outcome:
    """Refuse the journal of a later release by name, and leave all as it is."""
    bits, output = _left(number, folder)
    journal = journal_path(output)
    old, newer = journal.read_bytes(), []
    for line in old.splitlines():
        record = json.loads(line.partition(b" ")[2])
        text = json.dumps({**record, "version": _VERSION + 1}).encode()
        newer.append(b"%s %s\n" % (_digest(text), text))
    journal.write_bytes(b"".join(newer))
    before = _files(folder)
    said, _ = resumed(output)
    refused = journal.name in said and f"found version {_VERSION + 1}" in said
    same = _files(folder) == before
    journal.write_bytes(old)
    return Outcome(struck=True, survived=refused and same, equal=resumed(output)[0] == bits)


def another_reconstruction(number: int, folder: Path) -> Outcome:
    """Refuse what a run with other settings has left, whole; or name its single files."""
    bits, output = _left(number, folder)
    if number % 2:  # the run itself is another one
        before = _files(folder)
        use_walk(steps=STEPS + 1)
        said, _ = resumed(output)
        refused = "differed in settings" in said and _files(folder) == before
        use_walk(steps=STEPS)
        return Outcome(struck=True, survived=refused, equal=resumed(output)[0] == bits)
    use_walk(steps=STEPS - 1)
    other = folder / "other" / "rec.h5"
    other.parent.mkdir()
    interrupted(other, 2.6)
    use_walk(steps=STEPS)
    partial_path(other).replace(partial_path(output))
    for path in state_path(other).iterdir():
        path.replace(state_path(output) / path.name)
    found, warned = resumed(output)
    return Outcome(struck=True, survived=bool(warned), equal=found == bits)


def read_only_target(number: int, folder: Path) -> Outcome:
    """Refuse a read-only disk before work; read a whole result from it."""
    bits = undisturbed(STEPS)
    use_walk(steps=STEPS)
    try:
        with small_disk(folder / "disk", 256) as disk:
            if number % 2:
                interrupted(disk / "rec.h5", 2.5)
            before = _files(disk)
            make_read_only(disk)
            said, _ = resumed(disk / "rec.h5")
            same = _files(disk) == before
    except MountError as error:
        raise NotPossibleError(f"no right to mount: {error}") from error
    refused = "rec.h5: the folder cannot be written (Read-only" in said
    again = resumed(folder / "rec.h5")[0]
    return Outcome(struck=True, survived=refused and same, equal=again == bits)


def _left(number: int, folder: Path) -> tuple[str, Path]:
    """Interrupt a run; return what it has to end in, and its output."""
    bits = undisturbed(STEPS)
    use_walk(steps=STEPS)
    interrupted(folder / "rec.h5", random.Random(number).uniform(2.1, 2.9))
    return bits, folder / "rec.h5"


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


CASES = (
    FaultCase(name="fit: a checkpoint of a newer version", tries=6, quick=1, attempt=newer_fit),
    FaultCase(
        name="reconstruct: files of a newer version", tries=6, quick=1,
        attempt=newer_reconstruction,
    ),
    FaultCase(
        name="reconstruct: files of another run", tries=12, quick=2, attempt=another_reconstruction
    ),
    FaultCase(
        name="reconstruct: the disk is read-only", tries=4, quick=1, attempt=read_only_target
    ),
)  # fmt: skip
