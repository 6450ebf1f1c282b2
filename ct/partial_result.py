"""A result file in the making: finished slices stay, whatever ends the process."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from ct.checkpoint_file import FileCheckpoint
from ct.data.disk_room import reserve, write_at
from ct.data.result_file import finish_result
from ct.data.result_layout import ResultLayout
from ct.geometry import ImageGrid, Scan
from ct.geometry_json import geometry_to_json
from ct.journal import Journal
from ct.result_metadata import Metadata

Images: TypeAlias = Mapping[str, Float32[np.ndarray, "slices *image"]]
STRUCTURE = 2**16
"""More bytes than HDF5 takes for its own structures."""


class PartialResult:
    """The file `.REC.h5.partial`, and `.REC.h5.journal`, which says what of it is finished.

    The partial file is REC.h5 itself with room for all slices, so that it is written once and
    renamed at the end. Slices go to their places without HDF5, whose own structures stay as they
    were, in any order; the journal names a chunk, with a digest of its values, once they are on
    disk. The folder `.REC.h5.state` holds the state of the chunks in work.

    Attributes:
        output: the result file that it will become.
        chunks: what is on record of each slice of each finished chunk, by the chunk's number.
        checkpoint: where the chunks in work may leave their state.
        file: descriptor of the partial file.
    """

    def __init__(
        self, output: Path, journal: Journal, layout: ResultLayout, checkpoint: FileCheckpoint
    ) -> None:
        self.output = output
        self.chunks: dict[int, list[Metadata]] = {}
        self._first: dict[int, int] = {}
        self.checkpoint = checkpoint
        self._journal = journal
        self._layout = layout
        self.file = os.open(partial_path(output), os.O_RDWR)
        self._state_kept = False

    def write(self, chunk: int, first: int, images: Images, records: list[Metadata]) -> None:
        """Put a chunk of slices on disk.

        Args:
            chunk: its number.
            first: place of its first slice in the result.
            images: values of each dataset.
            records: what `chunks` shall say of each slice, as JSON can hold it.

        Raises:
            OSError: there is no room.
        """
        digest = hashlib.sha256()
        for name in self._layout.shapes:
            values = np.ascontiguousarray(images[name], dtype="<f4")
            data = values.reshape(-1).view(np.uint8).data
            digest.update(data)
            write_at(self.file, data, self._layout.place(name, first))
        _to_disk(self.file)
        entry = {"chunk": chunk, "first": first, "values": digest.hexdigest(), "record": records}
        self._journal.append(entry)
        self.chunks[chunk], self._first[chunk] = records, first
        for record in records:
            self.checkpoint.part(f"slice-{record['slice']}").clear()

    def go_on(self, entries: list[dict[str, Any]]) -> list[int]:
        """Take up what an earlier run finished.

        Args:
            entries: the journal's.

        Returns:
            Numbers of slices whose values are not those that were written; they do not count.
        """
        # the process may have ended while HDF5 was changing its structures
        for offset, content in self._layout.structure.items():
            write_at(self.file, memoryview(content), offset)
        os.ftruncate(self.file, self._layout.size)
        damaged = []
        for entry in entries:
            records = entry["record"]
            if self._digest(entry["first"], len(records)) == entry["values"]:
                self.chunks[entry["chunk"]] = records
                self._first[entry["chunk"]] = entry["first"]
            else:
                damaged += [record["slice"] for record in records]
        return damaged

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each dataset, slices first."""
        return self._layout.shapes

    def images(self, chunk: int) -> tuple[int, Images]:
        """Return the place of a finished chunk's first slice, and values of each dataset."""
        first, n_slices = self._first[chunk], len(self.chunks[chunk])
        found = {}
        for name, shape in self.shapes.items():
            size = n_slices * self._layout.slice_bytes(name)
            content = bytearray(os.pread(self.file, size, self._layout.place(name, first)))
            found[name] = np.frombuffer(content, dtype="<f4").reshape(n_slices, *shape[1:])
        return first, found

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
        reserve(self.file, self._layout.size + 4 * said + STRUCTURE)
        finish_result(partial, metadata, grid, scan, work)
        os.fsync(self.file)
        partial.replace(self.output)
        remove_traces(self.output)

    def keep_state(self) -> bool:
        """Write the states of the chunks in work, as far as it can be, when first called.

        Returns:
            Whether there is one on disk, this or an earlier one.
        """
        if not self._state_kept:
            self._state_kept = True  # whoever interrupts the writing wants no second attempt
            self.checkpoint.flush()
        return not self.checkpoint.is_empty()

    def close(self) -> None:
        """Close it; where no chunk was finished and no state saved, nothing is left."""
        try:
            has_state = self.keep_state()
        finally:
            os.close(self.file)
        if not self.chunks and not has_state:
            with suppress(OSError):  # such as a permission that was lost
                remove_traces(self.output)

    def _digest(self, first: int, n_slices: int) -> str:
        """Return the digest of what is in the file, a slice in memory at a time."""
        digest = hashlib.sha256()
        for name in self._layout.shapes:
            for place in range(first, first + n_slices):
                size = self._layout.slice_bytes(name)
                digest.update(os.pread(self.file, size, self._layout.place(name, place)))
        return digest.hexdigest()


def partial_path(output: Path) -> Path:
    """Return where a result is until it is whole."""
    return output.with_name(f".{output.name}.partial")


def journal_path(output: Path) -> Path:
    """Return where finished chunks are on record."""
    return output.with_name(f".{output.name}.journal")


def state_path(output: Path) -> Path:
    """Return the folder of the states of chunks in work."""
    return output.with_name(f".{output.name}.state")


def remove_traces(output: Path) -> None:
    """Remove all that stands beside a result while it is made.

    Raises:
        OSError: something cannot be removed.
    """
    FileCheckpoint(state_path(output), work=None).clear()
    partial_path(output).unlink(missing_ok=True)
    journal_path(output).unlink(missing_ok=True)


def _to_disk(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)
