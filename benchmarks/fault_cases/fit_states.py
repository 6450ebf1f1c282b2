"""Damaged checkpoints of fits, two fits into one folder, and Ctrl-C."""

from __future__ import annotations

import random
import signal
import time
import warnings
from pathlib import Path

from benchmarks.fault_cases.case import FaultCase, Outcome
from ensembles import adam
from tests.ensembles.checkpointed import all_bits, fit
from tests.faults.children import ran, started
from tests.faults.damage import DAMAGES
from tests.faults.kept_fits import (
    bits_of_a_fit,
    fit_that_is_interrupted,
    fit_that_is_refused,
    fit_that_waits,
    kept_fit,
)
from tests.faults.whole_files import assert_checkpoint_is_whole


def damaged(number: int, folder: Path) -> Outcome:
    """Damage random files of a fit that was killed: all are named, what is before them is used."""
    rng = random.Random(number)
    child = started(fit_that_waits, folder, (rng.choice([0, 2, 4]), rng.randrange(2, 20)))
    child.said()
    child.kill()
    there = sorted(folder.glob("*.safetensors"))
    hit = rng.sample(there, rng.randrange(1, len(there) + 1))
    for path in hit:
        rng.choice(list(DAMAGES.values()))(path, rng)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bits = all_bits(fit(checkpoint=folder))
    said = " ".join(str(one.message) for one in caught)
    # of states, one that stands before a whole one is not read
    read = [path for path in hit if "members" in path.name or path == there[-1]]
    return Outcome(
        struck=True, survived=all(path.name in said for path in read), equal=bits == bits_of_a_fit()
    )


def of_another_fit(number: int, folder: Path) -> Outcome:
    """Refuse the checkpoint of another fit by name, and leave it as it is."""
    child = started(fit_that_waits, folder, (2, 5))
    child.said()
    child.kill()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    changes = [{"seed": 2}, {"n_members": 6}, {"trainer": adam(steps=21)}][number % 3]
    try:
        fit(checkpoint=folder, **changes)
    except ValueError as error:
        refused = "belongs to a fit with other" in str(error)
    else:
        refused = False
    same = {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return Outcome(
        struck=True, survived=refused and same, equal=ran(kept_fit, folder)[0] == bits_of_a_fit()
    )


def two_at_once(number: int, folder: Path) -> Outcome:
    """Fit into one folder from several processes: one wins, the others say so."""
    children = [started(fit_that_is_refused, folder) for _ in range(2 + number % 3)]
    said = [child.result() for child in children]
    bits = bits_of_a_fit()
    refused = [one for one in said if "another process is training into" in one]
    assert_checkpoint_is_whole(folder)
    return Outcome(
        struck=bool(refused),
        survived=len(refused) < len(said),
        equal=all(one == bits for one in said if one not in refused),
    )


def ctrl_c_once(number: int, folder: Path) -> Outcome:
    """Press Ctrl-C in a random step: it ends after it, and says what is kept."""
    place = _place(number)
    child = started(fit_that_is_interrupted, folder, place, 0.1)
    child.said()
    child.send(signal.SIGINT)
    word, (note,) = child.result()
    kept = f"checkpoint: {place[0]} of 5 members are finished" in note and "in training" in note
    whole = assert_checkpoint_is_whole(folder) == place[0] // 2 + 1
    return Outcome(
        struck=word == "interrupted",
        survived=kept and whole,
        equal=ran(kept_fit, folder)[0] == bits_of_a_fit(),
    )


def ctrl_c_twice(number: int, folder: Path) -> Outcome:
    """Press Ctrl-C twice in a step of minutes: it ends within five seconds."""
    child = started(fit_that_is_interrupted, folder, _place(number), 500.0)
    child.said()
    child.send(signal.SIGINT)
    time.sleep(0.1)
    waited = child.process.exitcode is None
    child.send(signal.SIGINT)
    began = time.monotonic()
    word, _ = child.result()
    at_once = time.monotonic() - began < 5
    assert_checkpoint_is_whole(folder)
    return Outcome(
        struck=word == "interrupted",
        survived=waited and at_once,
        equal=ran(kept_fit, folder)[0] == bits_of_a_fit(),
    )


def _place(number: int) -> tuple[int, int]:
    rng = random.Random(number)
    return rng.choice([0, 2, 4]), rng.randrange(1, 20)


CASES = (
    FaultCase(name="fit: damaged files of a checkpoint", tries=40, quick=2, attempt=damaged),
    FaultCase(name="fit: the checkpoint of another fit", tries=6, quick=1, attempt=of_another_fit),
    FaultCase(name="fit: several processes, one folder", tries=10, quick=1, attempt=two_at_once),
    FaultCase(name="fit: Ctrl-C once", tries=10, quick=1, attempt=ctrl_c_once),
    FaultCase(name="fit: Ctrl-C twice", tries=10, quick=1, attempt=ctrl_c_twice),
)
