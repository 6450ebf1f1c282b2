"""Finished slices of unfinished work: a hidden folder beside the output."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesnn.files import atomic_write
from ct.result import Reconstruction

_WORK = "work.json"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The folder `.REC.h5.parts` beside REC.h5, with one result file for each finished slice.

    Attributes:
        output: the result file that they will become.
    """

    output: Path

    @property
    def folder(self) -> Path:
        """Where the slices are kept."""
        return self.output.parent / f".{self.output.name}.parts"

    def path(self, index: int) -> Path:
        """Return the file of one slice."""
        return self.folder / f"slice-{index:06d}.h5"

    def finished(self) -> set[int]:
        """Return the finished slices' numbers; a slice's file appears only when it is whole."""
        return {int(path.stem.removeprefix("slice-")) for path in self.folder.glob("slice-*.h5")}

    def discard_if_empty(self) -> None:
        """Leave nothing behind where no slice was finished."""
        if not self.finished():
            shutil.rmtree(self.folder, ignore_errors=True)

    def merge(self, indices: list[int]) -> None:
        """Write the result from the finished slices, at once, and remove them.

        Args:
            indices: the slices in the result's order.
        """
        whole = self.folder / "whole.h5"
        Reconstruction.merge([self.path(index) for index in indices], whole)
        whole.replace(self.output)
        shutil.rmtree(self.folder)


def open_parts(output: Path, work: dict[str, Any], *, resume: bool) -> Parts:
    """Find an earlier run's slices, or make room for this run's.

    Args:
        output: the result file to be written.
        work: all that the numbers depend on: input, settings, seed, versions.
        resume: whether to go on with an earlier run's slices.

    Returns:
        The slices.

    Raises:
        ValueError: there are slices but `resume` was not asked for, or they come from other work.
    """
    parts = Parts(output=output)
    path = parts.folder / _WORK
    text = json.dumps(work, sort_keys=True, indent=1)
    if path.is_file() and parts.finished():
        earlier = path.read_text(encoding="utf-8")
        if not resume:
            raise ValueError(
                f"{output}: an interrupted run left its finished slices in {parts.folder}; say "
                "--resume to go on with them, or delete that folder to start again."
            )
        if earlier != text:
            raise ValueError(
                f"{output}: cannot resume, the interrupted run differed in "
                f"{_difference(earlier, work)}; repeat its options, or delete {parts.folder}."
            )
        return parts
    # what was left before any slice was finished
    shutil.rmtree(parts.folder, ignore_errors=True)
    parts.folder.mkdir()
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return parts


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, by which a changed input is known."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _difference(earlier: str, work: dict[str, Any]) -> str:
    try:
        before = json.loads(earlier)
    except json.JSONDecodeError:
        return "a way that cannot be read"
    return ", ".join(sorted(k for k in {*before, *work} if before.get(k) != work.get(k)))
