"""One safetensors file with tensors and, in its header, JSON that says what they are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bayesnn.files import atomic_write
from bayesnn.plain_json import parse_json


class DamagedFileError(ValueError):
    """A file that is not whole, or does not hold what was written."""


class MissingFileError(ValueError):
    """A file that is not there, or no longer."""


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
        ValueError: the path cannot be written, the disk is full, or `content` is nothing that JSON
            can hold.
    """
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: a setting cannot be written as JSON ({error}).") from error
    # copies, because the format refuses tensors that share memory
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"format": file_format, "version": str(version), "content": text}
    metadata["sha256"] = _digest(plain, metadata)
    try:
        with atomic_write(path) as temporary:
            save_file(plain, temporary, metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be written ({error}); make room or choose another folder."
        ) from error


def read_tensor_file(
    path: str | os.PathLike[str], *, file_format: str, version: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write_tensor_file` wrote; nothing in it is executed.

    The digest is of everything in the file, in every version of every format, and is compared
    first: so a damaged file is told from a foreign or a newer one. Where another process replaces
    the file meanwhile, the old or the new one is read.

    Args:
        path: the file.
        file_format: the name it must carry.
        version: the one that the caller can read.

    Returns:
        The tensors, on the CPU, and the content.

    Raises:
        DamagedFileError: the file is empty, truncated, or damaged (its digest says so).
        MissingFileError: there is none.
        ValueError: the file is of another format or of another version, or cannot be read.
    """
    source = Path(path)
    if source.is_dir():
        raise ValueError(f"{source}: expected a file, found a folder.")
    while True:
        try:
            if source.stat().st_size == 0:
                raise DamagedFileError(
                    f"{source}: the file is empty; it was never written to its end."
                )
            with source.open("rb") as held:
                try:
                    return _read(source, file_format, version)
                except (ValueError, RuntimeError, OSError):
                    # safetensors opens the path twice, and may have met two files
                    if os.path.samestat(os.fstat(held.fileno()), source.stat()):
                        raise
        except FileNotFoundError as error:
            raise MissingFileError(f"{source}: no such file.") from error
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise ValueError(f"{source}: cannot be read ({reason}).") from error


def _read(source: Path, file_format: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(source, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if "sha256" not in metadata:
                _check_header(source, metadata, file_format, version)
            names = opened.keys()
            # copies in torch's own memory: its alignment decides the last bit of products
            tensors = {name: opened.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise DamagedFileError(
            f"{source}: not a {file_format} file, or a truncated one ({error})."
        ) from error
    if metadata.get("sha256") != _digest(tensors, metadata):
        raise DamagedFileError(
            f"{source}: the file is damaged: its contents do not match the digest that it was "
            "written with; take it from a backup, or fit and save again."
        )
    _check_header(source, metadata, file_format, version)
    return tensors, _content(source, metadata)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of everything in a file but itself."""
    total = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        total.update(json.dumps([name, metadata[name]]).encode())
    for name, value in sorted(tensors.items()):
        total.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _check_header(
    source: Path, metadata: Mapping[str, str], file_format: str, version: int
) -> None:
    if metadata.get("format") != file_format:
        raise ValueError(
            f"{source}: expected a {file_format} file, found safetensors of format "
            f"{metadata.get('format')!r:.60}."
        )
    found = metadata.get("version", "")
    if not found.isdecimal() or len(found) > 9:
        raise ValueError(f"{source}: expected a version number, found {found!r:.40}.")
    if int(found) > version:
        raise ValueError(
            f"{source}: the file has format version {found}, this program reads version {version}; "
            "install a newer bayesnn."
        )
    if int(found) < version:
        raise ValueError(
            f"{source}: the file has format version {found}, from before the first release; this "
            f"program reads version {version}; fit and save again."
        )


def _content(source: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        content = parse_json(metadata.get("content", ""))
    except ValueError as error:
        raise ValueError(f"{source}: the file's description is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{source}: the file's description is damaged (it is no object).")
    return content
