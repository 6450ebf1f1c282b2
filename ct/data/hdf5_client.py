"""Asking the process that reads HDF5 files, and starting it again where a file ended it."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from ct.data import hdf5_process
from ct.data.honest_size import memory_for
from ct.data.shown import shown


class _Reader:
    """The process, started when it is first asked."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
        if not Path(sys.executable or "").name.startswith("python"):
            return _here(request)  # in a program of another name, which cannot be started so
        with self.lock:
            process = self._running()
            try:
                return _exchange(process, request)
            except BaseException:
                self.stop()  # what it would still answer is nobody's
                raise

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                try:
                    pipe.close()
                except OSError:
                    continue  # what was not yet sent
            self.process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.process.poll() is not None:
            self.stop()  # ended by somebody else
        if self.process is None:
            # without this folder on the path, whose modules have common names
            self.process = subprocess.Popen(
                [sys.executable, "-P", hdf5_process.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self.process


_reader = _Reader()
_ended_it: dict[tuple[int, ...], dict[str, Any]] = {}
"""What ended the process, by what tells files apart: it is not tried again."""
_of_parents: list[_Reader] = []
atexit.register(lambda: _reader.stop())


def ask(path: Path, **request: Any) -> tuple[dict[str, Any], bytearray]:
    """Return what an HDF5 file holds, or values of it.

    Args:
        path: the file.
        request: as `ct.data.hdf5_process.answer` takes it; nothing for the contents.

    Returns:
        The answer, and the values' bytes.

    Raises:
        ValueError: truncated or damaged, or reading it took too long or too much memory.
    """
    try:
        found = path.stat()
        which = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if which in _ended_it:
            said, values = _ended_it[which], bytearray()
        else:
            memory = memory_for(path)
            asked = {"path": os.path.abspath(path), "memory": memory, **request}
            said, values = _reader.ask(asked)
        if "ended" in said:
            _ended_it[which] = said
    except OSError as error:
        said, values = {"error": error.strerror or str(error)}, bytearray()
    if "error" in said:
        raise ValueError(
            f"{path}: expected a whole HDF5 file, but it is truncated or damaged "
            f"({shown(said['error'], 200)}); write or copy it again."
        )
    return said, values


def _exchange(
    process: subprocess.Popen[bytes], request: dict[str, Any]
) -> tuple[dict[str, Any], bytearray]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        return _ended(process.wait()), bytearray()
    said = json.loads(line)
    values = bytearray(said.get("n_bytes", 0))
    view = memoryview(values)
    while view:
        n = process.stdout.readinto(view)  # type: ignore[attr-defined]
        if not n:
            return _ended(process.wait()), bytearray()
        view = view[n:]
    return said, values


def _ended(status: int) -> dict[str, Any]:
    _reader.stop()
    if hasattr(signal, "SIGPROF") and status == -signal.SIGPROF:
        return {"error": "reading it does not come to an end", "ended": True}
    return {"error": f"it ends the program that reads it, with status {status}", "ended": True}


def _here(request: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
    said, values = hdf5_process.answer({**request, "memory": None})
    return said, bytearray() if values is None else bytearray(values.tobytes())


def _after_fork() -> None:
    # the parent's process answers the parent
    global _reader
    if _reader.process is not None:
        _reader.process.returncode = 0  # nothing that is ours to wait for
    _of_parents.append(_reader)
    _reader = _Reader()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
