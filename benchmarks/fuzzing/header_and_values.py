"""The two parts of a safetensors file."""

from __future__ import annotations

import json
import struct
from typing import Any


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a safetensors file's header and values."""
    length = struct.unpack_from("<Q", data)[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header: Any, values: bytes, length: int | None = None) -> bytes:
    """Return a file with that header, or with the text of one."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "replace")
    return struct.pack("<Q", len(text) if length is None else length) + text + values


def in_order(data: bytes) -> bytes:
    """Return the same file with its header sorted, which safetensors leaves to chance."""
    header, values = parts(data)
    text = json.dumps(header, sort_keys=True)
    return joined(text.ljust(-(-len(text) // 8) * 8), values)
