"""The benchmark of executors: its parts are measured, and losses would show."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

from bayesnn.executors import SerialExecutor, serial_executor
from benchmarks import scale_out
from benchmarks.scaling import tasks
from benchmarks.scaling.fit_speed import QUICK, measure


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_smoke_run_measures_the_local_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    if not processes:
        monkeypatch.setattr(scale_out, "local_executor", lambda *_, **__: serial_executor("cpu"))
    scale_out.main(["--quick", "--no-ray", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "scale_out.json").read_text())
    found = {question: measured for _, question, measured, _ in content["rows"]}
    assert float(found["how many times as fast"]) > 0
    assert float(found["largest relative difference of parameters"]) < 1e-10
    assert found["draws equal bit for bit"] == "yes"
    assert found["a task that does nothing, one worker"].endswith(" ms")
    assert "Ray was not measured in this run." in content["notes"]


def test_one_device_says_what_half_of_the_members_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_out, "local_executor", lambda *_, **__: serial_executor("cpu"))
    scale_out.main(["--quick", "--devices", "cpu", "--out", str(tmp_path)])
    content = json.loads((tmp_path / "scale_out_one.json").read_text())
    found = {question: measured for _, question, measured, _ in content["rows"]}
    assert all("(each: " in found[f"{n} members by one worker"] for n in (16, 8))
    assert float(found[scale_out.PROJECTED]) > 0
    assert "Two devices were not measured" in content["lead"]


def test_one_and_all_take_turns() -> None:
    after_each = list(measure(serial_executor(), serial_executor(), QUICK, rounds=2))
    assert [len(speed.one) for speed in after_each] == [1, 2]
    speed = after_each[-1]
    assert len(speed.all) == 2
    assert speed.difference == 0.0
    assert speed.draws_equal


@pytest.mark.parametrize("fault", ["lost", "twice", "another's"])
def test_lost_doubled_and_mixed_up_tasks_are_found(fault: str) -> None:
    class Faulty(SerialExecutor):
        def run(self, *arguments: object, **named: object) -> Generator[tuple[int, object]]:
            for number, result in super().run(*arguments, **named):  # type: ignore[arg-type]
                if number == 2 and fault == "lost":
                    continue
                if number == 2 and fault == "twice":
                    yield number, result
                wrong = number == 2 and fault == "another's"
                yield number, np.zeros_like(result) if wrong else result

    assert tasks.many(serial_executor(), 3)[1] > 2**20
    with pytest.raises(AssertionError, match=r"task was lost|another's numbers"):
        tasks.many(Faulty(), 3)
