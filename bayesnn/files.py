"""Writing files so that nothing is lost or half-written."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return `path` if a file can be put there; call it before long work starts.

    Args:
        path: the file to be written; an existing file will be replaced, a folder will not.

    Returns:
        The path.

    Raises:
        ValueError: the folder is missing or not writable, or `path` is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{target}: expected a file to write, found a folder; add a file name.")
    if not target.parent.is_dir():
        raise ValueError(f"{target}: the folder {target.parent} does not exist; make it first.")
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}."):
            pass
    except OSError as error:
        raise ValueError(
            f"{target}: the folder cannot be written ({error.strerror}); choose another."
        ) from error
    return target


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` only if the block succeeds.

    A reader therefore sees the old file or the whole new one, after a crash too. The temporary
    file keeps the suffix of `path`, because some writers choose their format by it.

    Args:
        path: the file to be written or replaced.

    Yields:
        The temporary path to write to.

    Raises:
        ValueError: `path` cannot be written (see `check_writable`).

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = check_writable(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=f".part{target.suffix}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
