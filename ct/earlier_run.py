"""What an interrupted run left beside its output: gone on with, refused by name, or absent."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ct.checkpoint_file import FileCheckpoint
from ct.data.disk_room import check_room, reserve
from ct.data.result_layout import create_result, layout_from_json, layout_to_json
from ct.journal import Journal, JournalLines
from ct.partial_result import (
    STRUCTURE,
    PartialResult,
    journal_path,
    partial_path,
    remove_traces,
    state_path,
)
from ct.result_metadata import Metadata
from ct.state_files import StateFiles

_VERSION = 1  # raise it whenever older code would misread the files
_HEADERS = 2  # lines that say the same of the work, so that the loss of one loses nothing


@contextmanager
def open_partial(
    output: Path,
    *,
    work: Metadata,
    shapes: Mapping[str, tuple[int, ...]],
    resume: bool,
    states: StateFiles | None = None,
) -> Iterator[PartialResult]:
    """Find what an earlier run finished, or make room for this run.

    Args:
        output: the result file to be written.
        work: all that the numbers depend on: input, settings, seed, versions.
        shapes: shape of each dataset.
        resume: whether to go on with an earlier run's slices.
        states: where chunks in work leave their state; None for a folder beside the output.

    Yields:
        The result in the making.

    Raises:
        ValueError: there are slices but `resume` was not asked for, they come from other work or a
            later release, their journal is damaged, another process is at it, or the disk has no
            room for the result.

    Warns:
        UserWarning: finished slices are damaged; they are named, and made again.
    """
    with _journal(output) as journal:
        checkpoint = FileCheckpoint(state_path(output) if states is None else states, work=work)
        partial = _earlier(output, journal, work, checkpoint, resume=resume)
        if partial is None:
            if states is None:  # elsewhere they may be another machine's, to go on with
                checkpoint.clear()
            partial = _fresh(output, journal, work, shapes, checkpoint)
        try:
            yield partial
        finally:
            partial.close()


def clean_up(output: Path) -> None:
    """Remove what a run left that ended between its result and the removal of its journal.

    Raises:
        ValueError: another process is at it.
    """
    if journal_path(output).exists() or state_path(output).exists():
        with _journal(output):
            remove_traces(output)


@contextmanager
def _journal(output: Path) -> Iterator[Journal]:
    try:
        journal = Journal(journal_path(output))
    except BlockingIOError:
        raise ValueError(f"{output}: another process is writing it; wait for its end.") from None
    try:
        yield journal
    finally:
        journal.close()


def _earlier(
    output: Path, journal: Journal, work: Metadata, checkpoint: FileCheckpoint, *, resume: bool
) -> PartialResult | None:
    lines = journal.lines()
    n_lines = len(lines.records) + len(lines.damaged)
    nothing_done = not n_lines or (n_lines <= _HEADERS and checkpoint.is_empty())
    if nothing_done or not partial_path(output).exists():
        return None
    if not resume:
        raise ValueError(
            f"{output}: an interrupted run left its work in {partial_path(output)}; say "
            "--resume to go on with it, or delete that file to start again."
        )
    header = _header(output, lines)
    _check_same_work(output, header["work"], work)
    if lines.damaged:
        warnings.warn(
            f"{journal_path(output)}: damaged in {_numbers('line', lines.damaged)}; slices that "
            "stood there are made again.",
            stacklevel=2,
        )
    partial = PartialResult(output, journal, layout_from_json(header["layout"]), checkpoint)
    damaged = partial.go_on([one for one in lines.records if "chunk" in one])
    if damaged:
        warnings.warn(
            f"{partial_path(output)}: damaged in {_numbers('slice', damaged)} (the values do not "
            "match their digest), which are made again.",
            stacklevel=2,
        )
    return partial


def _header(output: Path, lines: JournalLines) -> Metadata:
    header = next((one for one in lines.records if "work" in one), None)
    remedy = f"delete {partial_path(output)} to start again"
    if header is None:
        raise ValueError(
            f"{journal_path(output)}: damaged, or of another release: nothing says of which work "
            f"the finished slices are; {remedy}."
        )
    if header["version"] > _VERSION:
        raise ValueError(
            f"{journal_path(output)}: expected version {_VERSION}, found version "
            f"{header['version']}; a later release of bayesnn wrote it: install that one, or "
            f"{remedy}."
        )
    return header


def _check_same_work(output: Path, its: Metadata, ours: Metadata) -> None:
    ours = json.loads(json.dumps(ours))
    different = sorted(key for key in {*its, *ours} if its.get(key) != ours.get(key))
    if different:
        raise ValueError(
            f"{output}: cannot resume, the interrupted run differed in {', '.join(different)}; "
            f"repeat its options, or delete {partial_path(output)}."
        )


def _fresh(
    output: Path,
    journal: Journal,
    work: Metadata,
    shapes: Mapping[str, tuple[int, ...]],
    checkpoint: FileCheckpoint,
) -> PartialResult:
    n_values = sum(math.prod(shape) for shape in shapes.values())
    try:
        journal.clear()
        check_room(partial_path(output), 4 * n_values + STRUCTURE)
        layout = create_result(partial_path(output), shapes)
        partial = PartialResult(output, journal, layout, checkpoint)
        try:
            reserve(partial.file, layout.size)
            for _ in range(_HEADERS):
                journal.append({
                    "version": _VERSION,
                    "work": work,
                    "layout": layout_to_json(layout),
                })
        except BaseException:
            partial.close()
            raise
    except OSError as error:
        remove_traces(output)
        raise ValueError(
            f"{output}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder."
        ) from error
    return partial


def _numbers(what: str, numbers: Sequence[int]) -> str:
    """Return "slice 3" or "slices 3, 4"."""
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
