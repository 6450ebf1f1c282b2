"""The share of the machine that others use, as the system counts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scaling import other_work


def test_busy_cores_are_those_that_are_not_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    before = "cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2 3\n"
    after = "cpu  130 10 60 940 60 0 0 0 99 9\ncpu0 1 2 3\n"  # 50 of 200 ticks were work

    def pass_time(_: float) -> None:
        stat.write_text(after)

    stat.write_text(before)
    monkeypatch.setattr(other_work, "_STAT", stat)
    monkeypatch.setattr(other_work.time, "sleep", pass_time)
    monkeypatch.setattr(other_work.os, "cpu_count", lambda: 4)
    assert other_work.busy_cores() == pytest.approx(1.0)


def test_where_the_system_does_not_tell_the_load_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_work, "_STAT", tmp_path / "none")
    monkeypatch.setattr(other_work.os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert other_work.busy_cores() == 1.5
