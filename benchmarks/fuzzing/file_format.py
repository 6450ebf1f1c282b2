"""What is fuzzed: seeds of one kind of file, how they are changed, and who reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

Mutate: TypeAlias = Callable[[Random, list[bytes]], bytes]
"""From a source of randomness and the seeds to one hostile file's content."""


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """One kind of file.

    Attributes:
        name: as `--format` takes it.
        suffix: of the files' names.
        seeds: makes whole files of that kind, a few KB each.
        mutate: makes a hostile file of them.
        read: opens a file as users do and reads all of it.
        readers: the functions that `read` calls, for the report.
    """

    name: str
    suffix: str
    seeds: Callable[[], list[bytes]]
    mutate: Mutate
    read: Callable[[Path], object]
    readers: str


def hostile_file(file_format: FileFormat, seeds: list[bytes], number: int) -> bytes:
    """Return the file of a number: the same for the same number and seeds."""
    return file_format.mutate(Random(f"{file_format.name} {number}"), seeds)
