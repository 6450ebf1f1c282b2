"""Some hundred damaged and forged files of every format; at length: `python -m benchmarks.fuzz`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import FORMATS
from benchmarks.fuzzing.file_format import hostile_file
from benchmarks.fuzzing.trial import REFUSED
from tests.hostile.harmful_files import HARMS

ROOT = Path(__file__).parents[2]


def test_no_file_does_more_than_be_read_or_refused(tmp_path: Path) -> None:
    """In a process without the tests' run-time checks, as users have it."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--inputs", "100", "--out", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    records = json.loads((tmp_path / "fuzz_formats.json").read_text())
    assert [one["format"] for one in records] == list(FORMATS), done.stderr
    assert [one["examples"] for one in records] == [{}] * len(FORMATS)
    assert {one["inputs"] for one in records} == {100}
    assert all(one["outcomes"].get(REFUSED, 0) > 20 for one in records)
    assert done.returncode == 0
    assert "0 faults" in (tmp_path / "fuzz.md").read_text()


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"hdf5"}))  # which notes the time
def test_the_same_number_makes_the_same_file(name: str) -> None:
    once, again = (
        [hostile_file(FORMATS[name], seeds, number) for number in range(20)]
        for seeds in (FORMATS[name].seeds(), FORMATS[name].seeds())
    )
    assert once == again
    assert len(set(once)) > 15


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it measures memory in /proc")
def test_the_watcher_sees_every_kind_of_harm() -> None:
    """Or all of the above would pass for another reason."""
    command = [sys.executable, "-m", "tests.hostile.harmful_files"]
    found = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    assert json.loads(found) == {"outcomes": [said for said, _ in HARMS], "left": 0}
