"""Cells of a comparison: one method on one split of one data set, run once and kept at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.failures import FAILURES, said
from benchmarks.record_file import Record, read_records, write_records


class Cell(NamedTuple):
    """What one run is about."""

    data: str
    split: int
    method: str


def run_cells(
    work: Callable[[Cell], Record], cells: Iterable[Cell], kept: Path, *, workers: int = 1
) -> list[Record]:
    """Run every cell that `kept` does not hold yet; add each as soon as it is done.

    A worker has one thread, so that a cell's numbers are the same however many workers there are.
    A cell that failed is kept with its reason and is tried again by the next call. Cells are
    handed out in their order, so long ones should come first.

    Args:
        work: runs a cell; a function of a module (or a `functools.partial` of one), as other
            processes must find it. Its seeds come from the cell alone.
        cells: what to run.
        kept: JSON file of one record a line; its folder is made.
        workers: processes; with 1 all runs in this one.

    Returns:
        The records of `cells`, in their order: data, split and method; what was found and
        `seconds`, or `error`, why nothing was.
    """
    cells = list(cells)
    records = {_cell(record): record for record in read_records(kept)}
    missing = [cell for cell in cells if "seconds" not in records.get(cell, {})]

    def keep(cell: Cell, record: Record) -> None:
        records[cell] = record
        write_records(kept, records.values())

    if workers == 1:
        for cell in missing:
            keep(cell, _timed(work, cell))
    elif missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_one_thread) as pool:
            running = {pool.submit(_timed, work, cell): cell for cell in missing}
            for done in as_completed(running):
                keep(running[done], done.result())
    return [records[cell] for cell in cells]


def _cell(record: Record) -> Cell:
    return Cell(record["data"], record["split"], record["method"])


def _one_thread() -> None:
    torch.set_num_threads(1)


def _timed(work: Callable[[Cell], Record], cell: Cell) -> Record:
    _one_thread()
    begin = time.perf_counter()
    try:
        found = work(cell)
    except FAILURES as error:
        return {**cell._asdict(), "error": said(error)}
    return {**cell._asdict(), **found, "seconds": time.perf_counter() - begin}
