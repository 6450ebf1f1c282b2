"""What a TIFF says of itself, checked against the file's size before anything is made of it.

tifffile believes a file: it makes room for as many values as a directory's entry claims, and
follows the chain of directories wherever it leads. So every entry is looked at here first.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ct.data.honest_size import check_claim, memory_for

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip
"""Bytes of a value, by the number of its type."""
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH, _LENGTH, _BITS, _PACKING, _SAMPLES = 256, 257, 258, 259, 277
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_PLACES, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_DEFLATE = {8, 32946}
_MOST_ENTRIES = 4096
_PACKED_AT_ONCE = 2**20


@dataclass(frozen=True, kw_only=True)
class _Entry:
    kind: int
    count: int
    place: int  # of its values in the file


def check_directories(path: Path) -> None:
    """Refuse a TIFF that claims more than it holds.

    Args:
        path: the file.

    Raises:
        ValueError: entries, strips or directories beyond the end of the file, directories in a
            circle, pages or tiles out of proportion to the file.
        struct.error: truncated.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        for entries, order in _directories(file, size):
            _check_page(file, path, size, entries, order)


def _directories(file: IO[bytes], size: int) -> Iterator[tuple[dict[int, _Entry], str]]:
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", start, 2)[0] == 43
    word, count_kind, each = ("Q", "Q", 20) if big else ("I", "H", 12)
    (place,) = struct.unpack_from(order + word, start, 8 if big else 4)
    seen: set[int] = set()
    while place:
        if place in seen:
            raise ValueError("its directories go round in a circle")
        seen.add(place)
        (n,) = _unpack(file, place, order + count_kind)
        place += struct.calcsize(order + count_kind)
        if n > _MOST_ENTRIES or place + n * each > size:
            raise ValueError(f"a directory claims {n} entries, which the file cannot hold")
        entries = {}
        for index in range(n):
            at = place + index * each
            tag, kind, count = _unpack(file, at, order + "HH" + word)
            inline = at + 4 + struct.calcsize(order + word)
            length = count * _SIZES.get(kind, 1)
            if length > struct.calcsize(order + word):
                (inline,) = _unpack(file, inline, order + word)
            if inline + length > size:
                raise ValueError(f"entry {tag} claims {count} values, which the file cannot hold")
            entries[tag] = _Entry(kind=kind, count=count, place=inline)
        yield entries, order
        (place,) = _unpack(file, place + n * each, order + word)


def _check_page(
    file: IO[bytes], path: Path, size: int, entries: dict[int, _Entry], order: str
) -> None:
    def value(tag: int, default: int) -> int:
        found = _numbers(file, entries, tag, order, most=1)
        return found[0] if found else default

    bits = max(_numbers(file, entries, _BITS, order, most=64), default=1)
    item = math.ceil(max(bits, 8) / 8) * max(value(_SAMPLES, 1), 1)
    check_claim(path, (value(_LENGTH, 0), value(_WIDTH, 0)), item, "a page")
    tile = value(_TILE_LENGTH, 1), value(_TILE_WIDTH, 1)
    check_claim(path, tile, item, "a tile")
    for places, counts in zip(_PLACES, _COUNTS, strict=True):
        starts = _numbers(file, entries, places, order, most=size)
        lengths = _numbers(file, entries, counts, order, most=size)
        for start, length in zip(starts, lengths, strict=False):
            if start + length > size:
                raise ValueError(f"expected {start + length} bytes, found {size}: it is truncated")
            if value(_PACKING, 1) in _DEFLATE:
                _check_unpacked(file, path, start, length)


def _check_unpacked(file: IO[bytes], path: Path, start: int, length: int) -> None:
    """Refuse a strip that unpacks to far more than a file of its size may."""
    most = memory_for(path) // 2
    if 1100 * length <= most:  # deflate packs no tighter
        return
    unpacker, unpacked = zlib.decompressobj(), 0
    file.seek(start)
    packed = file.read(length)
    while packed and not unpacker.eof:
        unpacked += len(unpacker.decompress(packed, _PACKED_AT_ONCE))
        packed = unpacker.unconsumed_tail
        if unpacked > most:
            raise ValueError(f"a strip of {length} bytes unpacks to more than {most}")


def _numbers(
    file: IO[bytes], entries: dict[int, _Entry], tag: int, order: str, *, most: int
) -> tuple[int, ...]:
    entry = entries.get(tag)
    if entry is None or entry.kind not in _WHOLE:
        return ()
    return _unpack(file, entry.place, f"{order}{min(entry.count, most)}{_WHOLE[entry.kind]}")


def _unpack(file: IO[bytes], place: int, form: str) -> tuple[int, ...]:
    file.seek(place)
    return struct.unpack(form, file.read(struct.calcsize(form)))
