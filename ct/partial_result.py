"""A result file in the making: finished slices stay, whatever ends the process."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from ct.checkpoint_file import FileCheckpoint
from ct.data.disk_room import check_room, reserve, write_at
from ct.data.result_file import finish_result
from ct.data.result_layout import (
    ResultLayout,
    create_result,
    layout_from_json,
    layout_to_json,
)
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_to_json
from ct.journal import Journal
from ct.result_metadata import Metadata

Images: TypeAlias = Mapping[str, Float32[np.ndarray, "slices *image"]]
_STRUCTURE = 2**16
"""More bytes than HDF5 takes for its own structures."""


class PartialResult:
    """The file `.REC.h5.partial`, and `.REC.h5.journal`, which says what of it is finished.

    The partial file is REC.h5 itself with room for all slices, so that it is written once and
    renamed at the end. Slices go to their places without HDF5, whose own structures stay as they
    were; the journal names a chunk once its values are on disk. The folder `.REC.h5.state` holds
    the state of the chunk in work.

    Attributes:
        output: the result file that it will become.
        chunks: what is on record of each finished chunk, by its number.
        checkpoint: where the chunk in work may leave its state.
    """

    def __init__(
        self, output: Path, journal: Journal, layout: ResultLayout, checkpoint: FileCheckpoint
    ) -> None:
        self.output = output
        self.chunks: dict[int, Any] = {}
        self.checkpoint = checkpoint
        self._journal = journal
        self._layout = layout
        self._values = os.open(partial_path(output), os.O_RDWR)

    def write(self, chunk: int, first: int, images: Images, record: Any) -> None:
        """Put a chunk of slices on disk.

        Args:
            chunk: its number.
            first: place of its first slice in the result.
            images: values of each dataset.
            record: what `chunks` shall say of it, as JSON can hold it.

        Raises:
            OSError: there is no room.
        """
        for name, values in images.items():
            data = np.ascontiguousarray(values, dtype="<f4").reshape(-1).view(np.uint8).data
            write_at(self._values, data, self._layout.place(name, first))
        _to_disk(self._values)
        self._journal.append({"chunk": chunk, "record": record})
        self.chunks[chunk] = record
        self.checkpoint.clear()

    def finish(self, metadata: Metadata, grid: ImageGrid, scan: Scan, work: str) -> None:
        """Make it the result file, and remove the journal.

        Args:
            metadata: the result's.
            grid: where the pixels are.
            scan: where the rays were.
            work: what tells it from a result of other work.

        Raises:
            OSError: there is no room.
        """
        partial = partial_path(self.output)
        # HDF5 does not survive a full disk, so what it will add gets its room before
        said = len(json.dumps(metadata)) + len(geometry_to_json(grid, scan)) + len(work)
        reserve(self._values, self._layout.size + 4 * said + _STRUCTURE)
        finish_result(partial, metadata, grid, scan, work)
        os.fsync(self._values)
        partial.replace(self.output)
        journal_path(self.output).unlink()
        self.checkpoint.clear()

    def keep_state(self) -> bool:
        """Write the state of the chunk in work, as far as it can be.

        Returns:
            Whether there is one on disk, this or an earlier one.
        """
        self.checkpoint.flush()
        return not self.checkpoint.is_empty()

    def close(self) -> None:
        """Close it; where no chunk was finished and no state saved, nothing is left."""
        has_state = self.keep_state()
        os.close(self._values)
        if not self.chunks and not has_state:
            _remove(self.output)
            self.checkpoint.clear()


@contextmanager
def open_partial(
    output: Path, *, work: Metadata, shapes: Mapping[str, tuple[int, ...]], resume: bool
) -> Iterator[PartialResult]:
    """Find what an earlier run finished, or make room for this run.

    Args:
        output: the result file to be written.
        work: all that the numbers depend on: input, settings, seed, versions.
        shapes: shape of each dataset.
        resume: whether to go on with an earlier run's slices.

    Yields:
        The result in the making.

    Raises:
        ValueError: there are slices but `resume` was not asked for, they come from other work,
            another process is at it, or the disk has no room for the result.
    """
    try:
        journal = Journal(journal_path(output))
    except BlockingIOError:
        raise ValueError(f"{output}: another process is writing it; wait for its end.") from None
    try:
        checkpoint = FileCheckpoint(_state_path(output), work=work)
        partial = _earlier(output, journal, work, checkpoint, resume=resume)
        if partial is None:
            checkpoint.clear()
            partial = _fresh(output, journal, work, shapes, checkpoint)
        try:
            yield partial
        finally:
            partial.close()
    finally:
        journal.close()


def finished_chunks(output: Path) -> int:
    """Return how many chunks an interrupted run finished, without touching them."""
    try:
        return max(journal_path(output).read_bytes().count(b"\n") - 1, 0)
    except OSError:
        return 0


def partial_path(output: Path) -> Path:
    """Return where a result is until it is whole."""
    return output.with_name(f".{output.name}.partial")


def journal_path(output: Path) -> Path:
    """Return where finished chunks are on record."""
    return output.with_name(f".{output.name}.journal")


def _state_path(output: Path) -> Path:
    return output.with_name(f".{output.name}.state")


def _earlier(
    output: Path, journal: Journal, work: Metadata, checkpoint: FileCheckpoint, *, resume: bool
) -> PartialResult | None:
    records = _records(journal)
    nothing_done = len(records) < 2 and (not records or checkpoint.is_empty())
    if nothing_done or not partial_path(output).exists():
        return None
    header, *chunks = records
    if not resume:
        raise ValueError(
            f"{output}: an interrupted run left its work in {partial_path(output)}; say "
            "--resume to go on with it, or delete that file to start again."
        )
    known = json.loads(json.dumps(work))
    different = sorted(
        k for k in {*header["work"], *known} if header["work"].get(k) != known.get(k)
    )
    if different:
        raise ValueError(
            f"{output}: cannot resume, the interrupted run differed in {', '.join(different)}; "
            f"repeat its options, or delete {partial_path(output)}."
        )
    layout = layout_from_json(header["layout"])
    partial = PartialResult(output, journal, layout, checkpoint)
    # the process may have ended while HDF5 was changing its structures
    for offset, content in layout.structure.items():
        write_at(partial._values, memoryview(content), offset)
    os.ftruncate(partial._values, layout.size)
    partial.chunks = {entry["chunk"]: entry["record"] for entry in chunks}
    return partial


def _records(journal: Journal) -> list[Any]:
    try:
        return journal.lines()
    except ValueError:
        return []  # not ours, or of a damaged disk: nothing that can be trusted


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
        check_room(partial_path(output), 4 * n_values + _STRUCTURE)
        layout = create_result(partial_path(output), shapes)
        partial = PartialResult(output, journal, layout, checkpoint)
        try:
            reserve(partial._values, layout.size)
            journal.append({"work": work, "layout": layout_to_json(layout)})
        except BaseException:
            partial.close()
            raise
    except OSError as error:
        _remove(output)
        raise ValueError(
            f"{output}: cannot be written ({error.strerror or error}); make room or choose another "
            "folder."
        ) from error
    return partial


def _remove(output: Path) -> None:
    partial_path(output).unlink(missing_ok=True)
    journal_path(output).unlink(missing_ok=True)


def _to_disk(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)
