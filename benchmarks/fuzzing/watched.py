"""A forked child that reads many files, and is replaced where one of them kills or stalls it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.fuzzing.file_format import FileFormat, hostile_file
from benchmarks.fuzzing.trial import Trial, try_file

LONGEST = 10.0
"""Seconds that reading one file may take."""
_MOST_WAITS = 6  # of so many seconds, in which the child did next to nothing


def trials(file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int]) -> Iterator[Trial]:
    """Read the files of these numbers, one after the other, in a child process.

    Args:
        file_format: what is read.
        seeds: its whole files.
        numbers: of the inputs.

    Yields:
        What came of each, in order; a crash or hang is one of them.
    """
    done = 0
    while done < len(numbers):
        for trial in _until_it_ends(file_format, seeds, numbers[done:]):
            done += 1
            yield trial


def _until_it_ends(
    file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int]
) -> Iterator[Trial]:
    """Yield trials of one child; the last of them may be what ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(file_format, seeds, numbers, writing)
    os.close(writing)
    count, ended = 0, ""
    try:
        with os.fdopen(reading, "rb", buffering=0) as lines:
            for line in _lines(lines.fileno(), child):
                if line is None:
                    ended = "hang"
                    break
                count += 1
                yield Trial(**json.loads(line))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if count < len(numbers):
        signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        said = f"over {LONGEST:g} s" if ended else f"signal {signal_number}, status {status}"
        size = len(hostile_file(file_format, seeds, numbers[count]))
        seconds = LONGEST if ended else 0.0
        yield Trial(
            number=numbers[count], outcome=ended or "crash", said=said, size=size, seconds=seconds
        )


def _lines(source: int, child: int) -> Iterator[bytes | None]:
    """Yield whole lines; None where the child worked for too long on one, or slept for longer."""
    rest, waited, worked = b"", 0, _work_of(child)
    while True:
        ready, _, _ = select.select([source], [], [], LONGEST)
        if not ready:
            waited += 1
            # on a machine that does other work too, it may have had no turn
            if _work_of(child) - worked > LONGEST / 2 or waited == _MOST_WAITS:
                yield None
                return
            continue
        waited, worked = 0, _work_of(child)
        part = os.read(source, 2**16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        yield from whole


def _work_of(child: int) -> float:
    """Return how many seconds a process has worked."""
    fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(
    file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int], results: int
) -> None:
    """Read the files and leave; never returns."""
    status = 1
    try:
        with tempfile.TemporaryDirectory(dir=_memory_disk()) as name:
            folder = Path(name)
            printed = os.open(folder / "printed", os.O_RDWR | os.O_CREAT | os.O_APPEND)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            path = folder / f"file{file_format.suffix}"
            for seed in seeds:  # what is loaded on first use does not count as any file's
                path.write_bytes(seed)
                with contextlib.suppress(Exception):
                    file_format.read(path)
            os.ftruncate(printed, 0)
            for number in numbers:
                path.write_bytes(hostile_file(file_format, seeds, number))
                trial = try_file(number, path, file_format.read, printed)
                os.write(results, json.dumps(asdict(trial)).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
