"""PNG: chunks whose checksums are right, whatever they say."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from random import Random

from PIL import Image

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import ANY, EXTREMES, mutated
from benchmarks.fuzzing.scan_readers import read_image
from benchmarks.fuzzing.small_scan import COUNTS, IMAGE

_START = b"\x89PNG\r\n\x1a\n"


def seeds() -> list[bytes]:
    """Return whole files."""
    images = [Image.fromarray(IMAGE[0]), Image.fromarray(COUNTS[0]), Image.fromarray(IMAGE[0] > 99)]
    images += [images[0].convert("P"), images[0].convert("LA"), images[0].convert("RGB")]
    return [_saved(one) for one in images]


def _saved(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """Return one chunk with its checksum."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def odd_chunks(rng: Random) -> bytes:
    """Return a file of well-formed chunks."""

    def size() -> int:
        return min(rng.choice((*EXTREMES, 8, 8, 8)), 2**32 - 1)

    header = struct.pack(
        ">IIBBBBB",
        size(),
        size(),
        rng.choice((1, 2, 4, 8, 16, 3, 0, 255)),
        rng.choice((0, 0, 0, 2, 3, 4, 6, 9)),
        0,
        0,
        rng.choice((0, 0, 1, 7)),
    )
    values = zlib.compress(rng.choice((b"\0" * 72, b"\0" * 10**6, rng.randbytes(72))))
    text = zlib.compress(b"a" * rng.choice((10, 10**6, 5 * 10**6)))
    extra = [
        chunk(b"zTXt", b"key\0\0" + text),
        chunk(b"iTXt", b"key\0\1\0\0\0" + text),
        chunk(b"iCCP", b"p\0\0" + text),
        chunk(b"PLTE", rng.randbytes(rng.choice((3, 4, 768, 900)))),
        chunk(b"tRNS", rng.randbytes(4)),
        chunk(b"acTL", rng.randbytes(8)),
        chunk(b"fcTL", rng.randbytes(26)),
        chunk(b"eXIf", rng.randbytes(40)),
        chunk(b"pHYs", rng.randbytes(9)),
        chunk(b"gAMA", rng.randbytes(4)),
        chunk(rng.randbytes(4), b"a"),
        chunk(b"IHDR", header),
    ]
    chosen = rng.sample(extra, rng.randrange(4))
    return _START + b"".join([
        chunk(b"IHDR", header),
        *chosen,
        chunk(b"IDAT", values),
        chunk(b"IEND", b""),
    ])


def mend_checksums(data: bytes) -> bytes:
    """Return a file whose chunks have right checksums, as far as their lengths can be followed."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        end = at + 8 + struct.unpack_from(">I", mended, at)[0]
        if end + 4 > len(mended):
            break
        struct.pack_into(">I", mended, end, zlib.crc32(bytes(mended[at + 4 : end])))
        at = end + 4
    return bytes(mended)


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    if rng.random() < 0.3:
        return odd_chunks(rng)
    changed = mutated(rng, whole, *ANY)
    return mend_checksums(changed) if rng.random() < 0.6 else changed


PNG = FileFormat(
    name="png",
    suffix=".png",
    seeds=seeds,
    mutate=mutate,
    read=read_image,
    readers="read_image",
)
