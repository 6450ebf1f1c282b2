"""MATLAB's files of version 5: numbers, texts and structs of them.

Written here rather than taken from SciPy, whose reader believes what a file claims: it makes room
for it, and damaged files end the process. Cells, objects, functions and sparse matrices are named
and not read.

Source: The MathWorks, MAT-File Format, version 5 and later.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct.data.honest_size import memory_for
from ct.data.shown import shown

_HEADER = 128
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    16: "u1", 17: "u2", 18: "u4",
}  # fmt: skip
"""NumPy's types, by the number of an element's type; the last three are letters."""
_LETTERS = {16: "utf-8", 17: "utf-16", 18: "utf-32", 4: "utf-16", 2: "utf-8"}
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8",
            15: "u8"}  # fmt: skip
_STRUCT, _CHAR = 2, 4
_NOT_READ = {1: "cells", 3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object",
             18: "an object"}  # fmt: skip
_COMPLEX, _LOGICAL = 0x800, 0x200
_DEEPEST = 32


@dataclass(frozen=True, kw_only=True)
class _Bytes:
    """A stretch of elements, and the order of their bytes."""

    data: memoryview
    order: str


def read_matlab5(path: Path) -> dict[str, Any]:
    """Read the variables of a file of version 5.

    Args:
        path: the file.

    Returns:
        By name: structs as dicts, texts, arrays without dimensions of length 1, complex ones too;
        what is not read as a few words.

    Raises:
        ValueError: truncated, damaged, of another version, or its variables take more memory than
            a file of its size may.
    """
    try:
        return _variables(path.read_bytes(), memory_for(path) // 2)
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a whole MATLAB file, but it is truncated or damaged "
            f"({shown(error)}); write or copy it again."
        ) from error


def _variables(content: bytes, most: int) -> dict[str, Any]:
    orders = {b"IM": "<", b"MI": ">"}
    if content[126:128] not in orders:
        raise ValueError("it does not say that it is of version 5")
    order = orders[content[126:128]]
    (version,) = struct.unpack_from(order + "H", content, 124)
    if version != 0x100:
        raise ValueError(f"expected version 5, found {version:#x}")
    elements = _Bytes(data=memoryview(content)[_HEADER:], order=order)
    found: dict[str, Any] = {}
    while elements.data:
        kind, data, elements = _element(elements, padded=False)
        if kind == _COMPRESSED:
            unpacked = _unpacked(data, most)
            most -= len(unpacked)
            kind, data, _ = _element(_Bytes(data=memoryview(unpacked), order=order), padded=False)
        if kind != _MATRIX:
            raise ValueError(f"expected variables, found an element of type {kind}")
        name, value = _matrix(_Bytes(data=data, order=order), 0)
        if name in found:
            raise ValueError(f"the variable {shown(name, 40)!r} is there twice")
        if not name.startswith("__"):
            found[name] = value
    return found


def _unpacked(data: memoryview, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(data, max(most, 1))
    if not unpacker.eof:
        what = f"takes more than {most} bytes" if unpacker.unconsumed_tail else "is truncated"
        raise ValueError(f"a packed variable {what}")
    return content


def _element(source: _Bytes, *, padded: bool = True) -> tuple[int, memoryview, _Bytes]:
    """Return the type and the data of the first element, and what comes behind it."""
    data, order = source.data, source.order
    if len(data) < 8:
        raise ValueError("it ends within an element")
    kind, length = struct.unpack_from(order + "II", data)
    if kind >> 16:  # a small element, whose data stand in its tag
        kind, length = kind & 0xFFFF, kind >> 16
        if length > 4:
            raise ValueError("a small element claims more than 4 bytes")
        return kind, data[4 : 4 + length], _Bytes(data=data[8:], order=order)
    end = 8 + length
    if end > len(data):
        raise ValueError(f"an element claims {length} bytes of {len(data) - 8}")
    after = min(end + (-length % 8 if padded else 0), len(data))
    return kind, data[8:end], _Bytes(data=data[after:], order=order)


def _matrix(source: _Bytes, depth: int) -> tuple[str, Any]:
    """Return the name of a matrix, and what it holds."""
    if depth > _DEEPEST:
        raise ValueError("its structs are nested too deeply")
    if not source.data:
        return "", np.zeros(0)
    _, flags, source = _element(source)
    if len(flags) < 8:
        raise ValueError("a variable without flags")
    flag = struct.unpack_from(source.order + "I", flags)[0]
    kind = flag & 0xFF
    if kind in {17, 18}:
        return "", _NOT_READ[kind]  # which have no dimensions
    sizes, source = _numbers(source)
    shape = tuple(int(n) for n in sizes)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a variable of shape {shown(list(shape))}")
    _, letters, source = _element(source)
    name = bytes(letters).decode("latin1")
    if kind in _NOT_READ:
        return name, _NOT_READ[kind]
    if kind == _STRUCT:
        return name, _struct(source, shape, depth)
    if kind == _CHAR:
        return name, _text(source, shape)
    return name, _array(source, shape, flag)


def _array(source: _Bytes, shape: tuple[int, ...], flag: int) -> NDArray[Any]:
    kind = flag & 0xFF
    if kind not in _CLASSES:
        raise ValueError(f"a variable of the unknown class {kind}")
    values, source = _shaped(source, shape, _CLASSES[kind])
    if flag & _COMPLEX:
        imaginary, _ = _shaped(source, shape, _CLASSES[kind])
        values = values + 1j * imaginary
    return np.squeeze(values.astype(bool) if flag & _LOGICAL else values)


def _numbers(source: _Bytes) -> tuple[NDArray[Any], _Bytes]:
    kind, data, source = _element(source)
    if kind not in _TYPES:
        raise ValueError(f"expected numbers, found an element of type {kind}")
    dtype = np.dtype(source.order + _TYPES[kind])
    return np.frombuffer(data, dtype, len(data) // dtype.itemsize), source


def _shaped(source: _Bytes, shape: tuple[int, ...], dtype: str) -> tuple[NDArray[Any], _Bytes]:
    values, source = _numbers(source)
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size} values for an array of shape {shown(list(shape))}")
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype).reshape(shape, order="F"), source


def _text(source: _Bytes, shape: tuple[int, ...]) -> str | list[str]:
    kind, data, _ = _element(source)
    if kind not in _LETTERS:
        raise ValueError(f"expected letters, found an element of type {kind}")
    name = _LETTERS[kind]
    if name != "utf-8":
        name += "-le" if source.order == "<" else "-be"
    letters = bytes(data).decode(name, errors="replace")
    rows = shape[0]
    if rows > max(len(letters), 1):
        raise ValueError(f"{len(letters)} letters for a text of {rows} lines")
    lines = [letters[row::rows].rstrip() for row in range(rows)] if rows > 1 else [letters]
    return lines[0] if len(lines) == 1 else lines


def _struct(source: _Bytes, shape: tuple[int, ...], depth: int) -> Mapping[str, Any] | str:
    lengths, source = _numbers(source)
    width = int(lengths[0]) if len(lengths) == 1 else 0
    _, letters, source = _element(source)
    whole = bytes(letters)
    if width < 1 or len(whole) % width:
        raise ValueError("a struct whose fields have no names")
    names = [
        whole[at : at + width].split(b"\0")[0].decode("latin1")
        for at in range(0, len(whole), width)
    ]
    if math.prod(shape) != 1:
        return f"structs {'×'.join(f'{n:.6g}' for n in shape)} of {shown(', '.join(names))}"
    fields = {}
    for name in names:
        kind, data, source = _element(source)
        if kind != _MATRIX:
            raise ValueError(f"expected a field, found an element of type {kind}")
        _, fields[name] = _matrix(_Bytes(data=data, order=source.order), depth + 1)
    return fields
