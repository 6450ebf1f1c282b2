"""The table of faults: counted as they are, failures said by number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.fault_cases.case import FaultCase, NotPossibleError, Outcome, tally


def test_what_survives_is_counted_and_what_fails_is_named() -> None:
    def attempt(number: int, folder: Path) -> Outcome:
        assert list(folder.iterdir()) == []
        if number == 1:
            raise ValueError("it was lost")
        return Outcome(struck=number > 0, survived=True, equal=number != 3)

    found = tally(FaultCase(name="a", tries=5, quick=1, attempt=attempt), quick=False)
    assert (found.tried, found.struck, found.survived, found.equal) == (5, 4, 4, 3)
    assert found.failures == (
        "1: ValueError: it was lost",
        "3: Outcome(struck=True, survived=True, equal=False)",
    )
    assert faults._lead([found]).endswith("4 survived, 3 with equal results; 2 failed.")
    assert tally(FaultCase(name="a", tries=5, quick=1, attempt=attempt), quick=True).tried == 1


def test_what_the_system_does_not_allow_is_skipped_and_said() -> None:
    def attempt(number: int, folder: Path) -> Outcome:
        raise NotPossibleError("no right to mount")

    found = tally(FaultCase(name="a", tries=5, quick=1, attempt=attempt), quick=False)
    assert (found.tried, found.skipped) == (0, "no right to mount")


def test_attempts_are_made_within_what_they_share() -> None:
    said: list[object] = []

    @contextmanager
    def around() -> Iterator[None]:
        said.append("open")
        yield
        said.append("closed")

    def attempt(number: int, folder: Path) -> Outcome:
        said.append(number)
        return Outcome(struck=True, survived=True, equal=True)

    @contextmanager
    def impossible() -> Iterator[None]:
        raise NotPossibleError("Ray is not installed")
        yield

    case = FaultCase(name="a", tries=2, quick=1, attempt=attempt, around=around)
    assert tally(case, quick=False).tried == 2
    assert said == ["open", 0, 1, "closed"]
    skipped = tally(
        FaultCase(name="a", tries=2, quick=1, attempt=attempt, around=impossible), quick=True
    )
    assert (skipped.tried, skipped.skipped) == (0, "Ray is not installed")


def test_kinds_of_earlier_calls_stay_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(number: int, folder: Path) -> Outcome:
        return Outcome(struck=True, survived=True, equal=number != bad)

    cases = [FaultCase(name=name, tries=3, quick=1, attempt=attempt) for name in ("a", "b")]
    monkeypatch.setattr(faults, "CASES", cases)
    bad = 1
    faults.main(["--out", str(tmp_path)])
    bad = 9
    faults.main(["--only", "b", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "faults.json").read_text())
    assert [row[:5] for row in report["rows"]] == [
        ["a", "3", "3", "3", "2"], ["b", "3", "3", "3", "3"]
    ]  # fmt: skip
    assert report["lead"].endswith("6 survived, 5 with equal results; 1 failed.")
    assert any("a: 1: Outcome" in note for note in report["notes"])


def test_one_kind_of_fault_makes_a_report(tmp_path: Path) -> None:
    faults.main(["--quick", "--only", "another fit", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "faults.json").read_text())
    assert [row[:5] for row in report["rows"]] == [
        ["fit: the checkpoint of another fit", "1", "1", "1", "1"]
    ]
    assert report["lead"].startswith("1 faults of 1 kinds: 1 survived, 1 with equal results, which")


@pytest.mark.slow
def test_every_kind_of_fault_is_survived(tmp_path: Path) -> None:
    faults.main(["--quick", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "faults.json").read_text())
    assert len(report["rows"]) == len(faults.CASES)
    assert report["lead"].endswith("which is all of them.")
