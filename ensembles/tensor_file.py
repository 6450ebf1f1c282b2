"""One safetensors file with tensors and, in its header, JSON that says what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bayesnn.files import atomic_write


def write_tensor_file(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    content: Mapping[str, Any],
    *,
    file_format: str,
    version: int,
) -> None:
    """Write the file whole or not at all.

    Args:
        path: the file to be written or replaced.
        tensors: what the file holds, by name.
        content: what JSON can hold of the rest.
        file_format: a name that tells these files from others.
        version: raised whenever older readers would misread the file.

    Raises:
        ValueError: the path cannot be written, or `content` is nothing that JSON can hold.
    """
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: a setting cannot be written as JSON ({error}).") from error
    # copies, because the format refuses tensors that share memory
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"format": file_format, "version": str(version), "content": text}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata=metadata)


def read_tensor_file(
    path: str | os.PathLike[str], *, file_format: str, version: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write_tensor_file` wrote; nothing in it is executed.

    Args:
        path: the file.
        file_format: the name it must carry.
        version: the newest version that the caller can read.

    Returns:
        The tensors, on the CPU, and the content.

    Raises:
        ValueError: the file is missing, empty, truncated, of another format or newer.
    """
    source = Path(path)
    if source.is_dir():
        raise ValueError(f"{source}: expected a file, found a folder.")
    if not source.exists():
        raise ValueError(f"{source}: no such file.")
    try:
        if source.stat().st_size == 0:
            raise ValueError(f"{source}: the file is empty; it was never written to its end.")
        with safe_open(source, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != file_format:
                raise ValueError(
                    f"{source}: expected a {file_format} file, found safetensors of format "
                    f"{metadata.get('format')!r}."
                )
            content = _content(source, metadata, version)
            names = opened.keys()
            # copies in torch's own memory: its alignment decides the last bit of products
            return {name: opened.get_tensor(name).clone() for name in names}, content
    except SafetensorError as error:
        raise ValueError(
            f"{source}: not a {file_format} file, or a truncated one ({error})."
        ) from error
    except OSError as error:
        raise ValueError(f"{source}: cannot be read ({error.strerror or error}).") from error


def _content(source: Path, metadata: Mapping[str, str], version: int) -> dict[str, Any]:
    found = metadata.get("version", "")
    if not found.isdecimal():
        raise ValueError(f"{source}: expected a version number, found {found!r:.40}.")
    if int(found) > version:
        raise ValueError(
            f"{source}: the file has format version {found}, this program reads up to {version}; "
            "install a newer bayesnn."
        )
    try:
        content = json.loads(metadata.get("content", ""))
    except ValueError as error:
        raise ValueError(f"{source}: the file's description is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{source}: the file's description is damaged (it is no object).")
    return content
