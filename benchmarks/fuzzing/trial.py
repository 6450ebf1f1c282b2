"""One hostile file read: what came of it, how long it took, how much memory."""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ct.data.honest_size import LEEWAY, TIMES
from ensembles.tensor_file import DamagedFileError

OWN = 32 * 2**20
"""Bytes that the libraries may take for themselves, beside what a file may make them take."""
_LONGEST_MESSAGE = 1000
ACCEPTED, REFUSED = "accepted", "refused"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one file.

    Attributes:
        number: of the input.
        outcome: "accepted", "refused", or what was wrong: "error" (another exception), "memory",
            "message", "warning", "printed"; the watcher adds "hang" and "crash".
        said: the error or warning, shortened.
        seconds: that reading took.
        size: of the file in bytes.
        memory: by how many bytes the process's resident memory grew at most.
    """

    number: int
    outcome: str
    said: str = ""
    seconds: float = 0.0
    size: int = 0
    memory: int = 0


def try_file(number: int, path: Path, read: Callable[[Path], object], printed: int) -> Trial:
    """Read one file under a limit on memory.

    Args:
        number: of the input.
        path: the file.
        read: opens and reads it.
        printed: an open file to which stdout and stderr go; it must stay empty.
    """
    size = path.stat().st_size
    allowed = OWN + allowed_memory(size)
    _STATUS.reset_peak()
    held = _STATUS.kib("VmRSS")
    began = time.perf_counter()
    resource.setrlimit(
        resource.RLIMIT_AS, (_STATUS.kib("VmSize") * 1024 + allowed, resource.RLIM_INFINITY)
    )
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            outcome, said = _read(path, read)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seconds = time.perf_counter() - began
    memory = max(0, _STATUS.kib("VmHWM") - held) * 1024
    if memory > allowed:
        outcome, said = "memory", f"{memory} bytes for a file of {size}"
    if outcome in {ACCEPTED, REFUSED} and warned:
        outcome, said = (
            "warning",
            f"{len(warned)} of {warned[0].category.__name__}: {warned[0].message}",
        )
    if os.fstat(printed).st_size:
        outcome, said = "printed", os.pread(printed, 300, 0).decode(errors="replace")
        os.ftruncate(printed, 0)
    return Trial(
        number=number, outcome=outcome, said=said[:300], seconds=seconds, size=size, memory=memory
    )


def allowed_memory(size: int) -> int:
    """Return how many bytes a file of that size may make its reader take."""
    return LEEWAY + TIMES * size


def _read(path: Path, read: Callable[[Path], object]) -> tuple[str, str]:
    try:
        read(path)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the trial is about
        said = f"{type(error).__name__}: {error}"
        if _ran_out(error):
            return "memory", said
        if type(error) not in {ValueError, DamagedFileError}:
            return "error", said + _where(error)
        if not is_clear(str(error)):
            return "message", said + _where(error)
        return REFUSED, said
    return ACCEPTED, ""


def _ran_out(error: BaseException | None) -> bool:
    """Return whether memory ran out, there or in what an error came from."""
    while error is not None:
        said = str(error).lower()
        if (
            isinstance(error, MemoryError)
            or "allocation failed" in said
            or "unable to allocate" in said
        ):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def is_clear(message: str) -> bool:
    """Return whether a message is one short line of a whole sentence."""
    return (
        20 < len(message) <= _LONGEST_MESSAGE
        and len(message.splitlines()) == 1
        and message.isprintable()
    )


def _where(error: BaseException) -> str:
    last, trace = "", error.__traceback__
    while trace is not None:
        name = Path(trace.tb_frame.f_code.co_filename).name
        last, trace = f" [{name}:{trace.tb_lineno}]", trace.tb_next
    return last


class _Status:
    """What the system says of this process's memory."""

    def kib(self, name: str) -> int:
        """Return one line of /proc/self/status, in KiB."""
        text = Path("/proc/self/status").read_text()
        return int(text[text.index(name) :].split(maxsplit=2)[1])

    def reset_peak(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")


_STATUS = _Status()
