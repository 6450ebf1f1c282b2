import argparse
import functools
import json

import pytest

from bayesnn.executors import serial_executor
from benchmarks.comparison.cells import Cell, cell_executor, run_cells
from benchmarks.record_file import read_records

CELLS = [Cell("toy", split, method) for split in range(3) for method in ("good", "bad")]


def _work(cell: Cell, *, log) -> dict[str, float]:
    with log.open("a") as file:
        file.write(f"{cell.split}{cell.method}\n")
    if cell.method == "bad" and cell.split == 1:
        raise ValueError("a method that cannot")
    return {"score": cell.split + len(cell.method)}


@pytest.mark.parametrize("where", ["1", "2", pytest.param("ray", marks=pytest.mark.slow)])
def test_each_cell_runs_once_and_failures_are_tried_again(tmp_path, where):
    work = functools.partial(_work, log=tmp_path / "log")
    kept = tmp_path / "new" / "cells.json"
    if where == "ray":
        pytest.importorskip("ray")
    executor = cell_executor(where)
    first = run_cells(work, CELLS, kept, executor=executor)
    assert [(r["data"], r["split"], r["method"]) for r in first] == CELLS
    assert [r.get("score") for r in first] == [4, 3, 5, None, 6, 5]
    assert first[3]["error"] == "ValueError: a method that cannot"
    assert sorted(map(json.dumps, read_records(kept))) == sorted(map(json.dumps, first))

    again = run_cells(work, CELLS, kept, executor=executor)
    assert [r for i, r in enumerate(again) if i != 3] == [r for i, r in enumerate(first) if i != 3]
    assert len((tmp_path / "log").read_text().splitlines()) == len(CELLS) + 1


def test_cells_of_other_questions_stay(tmp_path):
    kept = tmp_path / "cells.json"
    work = functools.partial(_work, log=tmp_path / "log")
    run_cells(work, CELLS[:1], kept, executor=serial_executor())
    assert len(run_cells(work, CELLS[2:3], kept, executor=serial_executor())) == 1
    assert len(read_records(kept)) == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "ray://", "local:0"])
def test_where_cells_cannot_run_is_said(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number of processes, or"):
        cell_executor(text)


def test_a_cell_may_be_silent_for_long():
    assert cell_executor("2").silence == cell_executor("local:2").silence > 10_000
