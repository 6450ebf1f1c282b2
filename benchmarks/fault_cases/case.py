"""One kind of fault, tried many times: what is done, and what came out."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import FAILURES, said
from benchmarks.report import current_commit


class NotPossibleError(Exception):
    """The system does not let this process cause the fault."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one fault did.

    Attributes:
        struck: it came while there was work; one that came too late proves little.
        survived: nothing was half-written, whatever had to be refused or said was, and work could
            go on.
        equal: the result is that of an undisturbed run, bit for bit.
    """

    struck: bool
    survived: bool
    equal: bool


@dataclass(frozen=True, kw_only=True)
class FaultCase:
    """A kind of fault.

    Attributes:
        name: as the table shows it.
        tries: how often, at length.
        quick: how often in a smoke run.
        attempt: its number, which everything random comes from, and an empty folder -> what came
            out.
        around: what all attempts are made within, such as workers that are slow to start.
    """

    name: str
    tries: int
    quick: int
    attempt: Callable[[int, Path], Outcome]
    around: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, kw_only=True)
class Tally:
    """A kind of fault, counted.

    Attributes:
        name: of the case.
        tried: how many there were.
        struck: of which came while there was work.
        survived: of all.
        equal: of all.
        seconds: that they took.
        failures: what went wrong, one line each with the number of the attempt.
        skipped: why none could be tried; empty where they were.
        commit: of the code that was tried.
    """

    name: str
    tried: int
    struck: int
    survived: int
    equal: int
    seconds: float
    failures: tuple[str, ...]
    skipped: str = ""
    commit: str = ""


def tally(case: FaultCase, *, quick: bool) -> Tally:
    """Try a kind of fault as often as the case says."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    failures: list[str] = []
    try:
        with case.around():
            for number in range(case.quick if quick else case.tries):
                outcome, failure = _tried(case, number)
                outcomes.append(outcome)
                failures += [f"{number}: {failure}"] if failure else []
    except NotPossibleError as error:
        return Tally(
            name=case.name, tried=0, struck=0, survived=0, equal=0, seconds=0.0, failures=(),
            skipped=str(error), commit=current_commit(),
        )  # fmt: skip
    return Tally(
        name=case.name,
        tried=len(outcomes),
        struck=sum(one.struck for one in outcomes),
        survived=sum(one.survived for one in outcomes),
        equal=sum(one.equal for one in outcomes),
        seconds=time.monotonic() - began,
        failures=tuple(failures),
        commit=current_commit(),
    )


def _tried(case: FaultCase, number: int) -> tuple[Outcome, str]:
    """Return what came out, and what was wrong with it."""
    try:
        outcome = _attempt(case, number)
    except (*FAILURES, AssertionError) as error:
        return Outcome(struck=True, survived=False, equal=False), said(error)
    return outcome, "" if outcome.survived and outcome.equal else str(outcome)


def _attempt(case: FaultCase, number: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="bayesnn-fault-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those that matter are looked at by the case
        return case.attempt(number, Path(folder))
