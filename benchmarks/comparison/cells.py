"""Cells of a comparison: one method on one split of one data set, run once and kept at once."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import torch

from bayesnn.executors import Context, Executor, executor_from, local_executor, serial_executor
from benchmarks.failures import FAILURES, said
from benchmarks.record_file import Record, read_records, write_records

SILENCE = 24 * 3600.0  # seconds; a cell says nothing before it is done


class Cell(NamedTuple):
    """What one run is about."""

    data: str
    split: int
    method: str


def run_cells(
    work: Callable[[Cell], Record], cells: Iterable[Cell], kept: Path, *, executor: Executor
) -> list[Record]:
    """Run every cell that `kept` does not hold yet; add each as soon as it is done.

    A worker has one thread, so that a cell's numbers are the same wherever it runs. A cell that
    failed is kept with its reason and is tried again by the next call. Cells are handed out in
    their order, so long ones should come first.

    Args:
        work: runs a cell; its seeds come from the cell alone.
        cells: what to run.
        kept: JSON file of one record a line; its folder is made.
        executor: where cells run, such as `cell_executor("2")` gives.

    Returns:
        The records of `cells`, in their order: data, split and method; what was found and
        `seconds`, or `error`, why nothing was.
    """
    cells = list(cells)
    records = {_cell(record): record for record in read_records(kept)}
    missing = [cell for cell in cells if "seconds" not in records.get(cell, {})]
    with closing(executor.run(_timed, missing, shared=work)) as results:
        for number, record in results:
            records[missing[number]] = record
            write_records(kept, records.values())
    return [records[cell] for cell in cells]


def cell_executor(text: str) -> Executor:
    """Return where cells run, as a command line says it.

    Args:
        text: a number of processes on this machine (1 is this process itself), or what
            `bayesnn.executors.executor_from` takes, such as "ray://HOST:PORT".

    Returns:
        The executor.

    Raises:
        argparse.ArgumentTypeError: another text, or one that cannot be had here.
    """
    if text.isdecimal() and int(text) > 0:
        n = int(text)
        return serial_executor() if n == 1 else local_executor(n, threads=1, silence=SILENCE)
    try:
        return executor_from(text, silence=SILENCE)
    except (ValueError, ImportError) as error:
        raise argparse.ArgumentTypeError(f"expected a number of processes, or {error}") from error


def _cell(record: Record) -> Cell:
    return Cell(record["data"], record["split"], record["method"])


def _timed(work: Callable[[Cell], Record], cell: Cell, _: Context) -> Record:
    torch.set_num_threads(1)
    begin = time.perf_counter()
    try:
        found = work(cell)
    except FAILURES as error:
        return {**cell._asdict(), "error": said(error)}
    return {**cell._asdict(), **found, "seconds": time.perf_counter() - begin}
