"""The comparison of members in chunks runs, and would show a difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import members_in_chunks
from ensembles import member_training


def _rows(folder: Path) -> list[list[str]]:
    path = members_in_chunks.main(["--quick", "--out", str(folder)])
    rows: list[list[str]] = json.loads(path.with_suffix(".json").read_text())["rows"]
    return rows


def test_a_smoke_run_finds_no_difference(tmp_path: Path) -> None:
    rows = _rows(tmp_path)
    assert [row[0] for row in rows] == ["Gauss–Newton", "Adam"]
    assert [row[5:] for row in rows] == [["0.0e+00", "0.0e+00"]] * 2
    text = (tmp_path / "members_in_chunks.md").read_text()
    assert "2 of 2 fits are the same bit for bit" in text


def test_a_difference_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = member_training._part

    def changed(problem: object, trained: object) -> object:
        if len(trained.converged) < members_in_chunks.N_MEMBERS:  # type: ignore[attr-defined]
            next(iter(trained.params.values())).mul_(1 + 1e-12)  # type: ignore[attr-defined]
        return original(problem, trained)  # type: ignore[arg-type]

    monkeypatch.setattr(member_training, "_part", changed)
    assert all(float(row[5]) > 1e-13 for row in _rows(tmp_path))
