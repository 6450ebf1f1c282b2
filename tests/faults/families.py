"""A process with all that it starts, so that a test sees what is left of it when it ends."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

_WORD = "BAYESNN_FAULT_FAMILY"
_OF_TORCH = "torchinductor_"  # a folder that importing parts of torch makes, and never removes


def begin_family(home: Path, *, own_group: bool) -> None:
    """Make this process the first of a family, with a temporary folder of its own.

    Args:
        home: a folder that no other family has.
        own_group: whether Ctrl-C can be sent to all of it. Of a group whose first has ended the
            system itself ends the others if one of them is stopped.
    """
    if own_group:
        os.setpgid(0, 0)
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ[_WORD] = str(home)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)


def descendants(home: Path) -> list[int]:
    """Return the processes that a family's first has started, whoever their parent is now."""
    word = f"{_WORD}={home}\0".encode()
    return [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if word in _read(path / "environ")  # empty once it has ended
    ]


def local_workers(home: Path) -> list[int]:
    """Return those of a family's processes that work for it, not those that read files for it."""
    lines = {pid: _read(Path(f"/proc/{pid}/cmdline")) for pid in descendants(home)}
    return [pid for pid, line in lines.items() if b"worker_main" in line]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def seconds_until_gone(home: Path, patience: float) -> float:
    """Wait until no process of a family is left but its first; fail where some stay."""
    began = time.monotonic()
    while left := descendants(home):
        if time.monotonic() - began > patience:
            raise AssertionError(f"{len(left)} processes are left after {patience:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def left_in_temporary_folders(home: Path) -> list[str]:
    """Return what a family has left in its temporary folder and in shared memory."""
    here = [path.name for path in (home / "tmp").iterdir()]
    mapped = [path for path in Path("/dev/shm").iterdir() if _made_after(path, home)]
    return [name for name in here if not name.startswith(_OF_TORCH)] + [str(one) for one in mapped]


def _made_after(path: Path, home: Path) -> bool:
    try:
        return path.stat().st_mtime > (home / "tmp").stat().st_ctime
    except OSError:  # it is gone
        return False
