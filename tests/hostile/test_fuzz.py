"""Some hundred damaged and forged files of every format; at length: `python -m benchmarks.fuzz`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import FORMATS
from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.trial import REFUSED
from benchmarks.fuzzing.watched import trials

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


def _does_harm(path: Path) -> None:
    harm = path.read_bytes()
    if harm == b"crash":
        os.kill(os.getpid(), 11)
    if harm == b"hang":
        while True:
            pass
    if harm == b"memory":
        bytearray(2**30)
    if harm == b"print":
        os.write(1, b"hello")
    if harm == b"error":
        raise KeyError("a")
    if harm == b"unclear":
        raise ValueError("a\nb" * 20)
    if harm == b"refused":
        raise ValueError("expected a file of another kind, found this one; give the other.")


HARMS = (
    "crash", "hang", "memory", "print", "error", "unclear", "refused", "accepted", "crash",
)  # fmt: skip


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it measures memory in /proc")
def test_the_watcher_sees_every_kind_of_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all of the above would pass for another reason."""
    monkeypatch.setattr("benchmarks.fuzzing.watched.LONGEST", 1.0)
    harmful = FileFormat(
        name="harmful", suffix="", seeds=lambda: [b"accepted"],
        mutate=lambda rng, _: HARMS[int(str(rng.number))].encode(),  # type: ignore[attr-defined]
        read=_does_harm, readers="",
    )  # fmt: skip

    class Numbered:
        def __init__(self, seed: str) -> None:
            self.number = seed.split()[1]

    monkeypatch.setattr("benchmarks.fuzzing.file_format.Random", Numbered)
    found = [one.outcome for one in trials(harmful, [b"accepted"], range(len(HARMS)))]
    assert found == [
        "crash", "hang", "memory", "printed", "error", "message", "refused", "accepted", "crash",
    ]  # fmt: skip
