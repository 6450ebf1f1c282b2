"""What a file holds, in one short text by which a change is noticed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def content_digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, or of a folder's file names and contents.

    Args:
        path: the file or folder; of a folder, files in folders below it do not count.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> content_digest(__file__) == content_digest(__file__)
        True
    """
    path = Path(path)
    if path.is_dir():
        whole = hashlib.sha256()
        for one in sorted(entry for entry in path.iterdir() if entry.is_file()):
            whole.update(f"{one.name}\0{content_digest(one)}\0".encode())
        return whole.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
