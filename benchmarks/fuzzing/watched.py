"""A forked child that reads many files, and is replaced where one of them kills or stalls it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.fuzzing.file_format import FileFormat, hostile_file
from benchmarks.fuzzing.trial import Trial, try_file

LONGEST = 10.0
"""Seconds that reading one file may take."""
MOST_WAITS = 6
"""Of so many seconds each, in which the child did next to nothing."""
_LOOKS = 10  # while a file is read for so long


def trials(file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int]) -> Iterator[Trial]:
    """Read the files of these numbers, one after the other, in a child process.

    The child is a fork of this process, which must therefore have no threads.

    Args:
        file_format: what is read.
        seeds: its whole files.
        numbers: of the inputs.

    Yields:
        What came of each, in order; a crash or hang is one of them.
    """
    done = 0
    while done < len(numbers):
        with tempfile.TemporaryDirectory(dir=_memory_disk()) as folder:
            for trial in _until_it_ends(file_format, seeds, numbers[done:], Path(folder)):
                done += 1
                yield trial


def _until_it_ends(
    file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int], folder: Path
) -> Iterator[Trial]:
    """Yield trials of one child; the last of them may be what ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(reading)
        _work(file_format, seeds, numbers, folder, writing)
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
        for kill in (os.kill, os.killpg):  # it, and the process that reads HDF5 for it
            with contextlib.suppress(ProcessLookupError):
                kill(child, signal.SIGKILL)
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
    rest, heard, worked = b"", time.monotonic(), None
    while True:
        ready, _, _ = select.select([source], [], [], LONGEST / _LOOKS)
        if not ready:
            worked = _work_of(child) if worked is None else worked
            silence = time.monotonic() - heard
            # on a machine that does other work too, it may have had no turn
            if silence > LONGEST and (
                silence > MOST_WAITS * LONGEST or _work_of(child) - worked > LONGEST / 2
            ):
                yield None
                return
            continue
        part = os.read(source, 2**16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
        heard, worked = time.monotonic(), None


def _work_of(group: int) -> float:
    """Return how many seconds the processes of a group have worked."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            fields = path.read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12]) if int(fields[2]) == group else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _work(
    file_format: FileFormat, seeds: list[bytes], numbers: Sequence[int], folder: Path, results: int
) -> None:
    """Read the files and leave; never returns."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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
