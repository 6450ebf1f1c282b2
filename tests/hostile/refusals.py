"""What every refusal of a hostile file must be."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ct.data.honest_size import LEEWAY, TIMES


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file."""
    (folder / name).write_bytes(content)
    return folder / name


def refused(read: Callable[[], object], path: Path, named: str) -> None:
    """Read a file that must be refused: with one clear line, soon, in little memory."""
    with soon_in_little_memory(path), pytest.raises(ValueError, match=named) as caught:
        read()
    message = str(caught.value)
    assert path.name in message
    assert len(message) < 1000
    assert message.isprintable()


@contextmanager
def soon_in_little_memory(path: Path) -> Iterator[None]:
    """Limit the address space, and the time to ten seconds."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = path.stat().st_size if path.is_file() else 0
    most = pages * resource.getpagesize() + TIMES * size + LEEWAY + 2**25
    before = resource.getrlimit(resource.RLIMIT_AS)
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - began < 10
