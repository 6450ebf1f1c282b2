"""Changes of bytes that any kind of file may suffer."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

Change: TypeAlias = Callable[[Random, bytearray], None]

EXTREMES = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    255,
    256,
    1000,
    2**15 - 1,
    2**15,
    2**16 - 1,
    2**16,
    10**6,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32 - 2,
    2**32,
    2**40,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
"""Whole numbers at which readers go wrong."""
_HEAD = 512  # where most formats keep what they say of themselves


def mutated(rng: Random, seeds: list[bytes], *own: Change) -> bytes:
    """Return one of the seeds after one to four changes.

    Args:
        rng: source of randomness.
        seeds: whole files.
        own: changes that know the format, half of all that are made.
    """
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if own and rng.random() < 0.5:
            rng.choice(own)(rng, data)
        elif rng.random() < 0.05:
            splice(rng, data, rng.choice(seeds))
        else:
            rng.choice(ANY)(rng, data)
        if not data:
            break
    return bytes(data)


def place(rng: Random, data: bytearray) -> int:
    """Return a place in the file, half of the time near its start."""
    end = min(len(data), _HEAD) if rng.random() < 0.5 else len(data)
    return rng.randrange(max(end, 1))


def flip_bits(rng: Random, data: bytearray) -> None:
    """Flip one to 32 bits."""
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        data[place(rng, data)] ^= 1 << rng.randrange(8)


def overwrite(rng: Random, data: bytearray) -> None:
    """Write zeros, ones or noise over a run of bytes."""
    start, length = place(rng, data), rng.choice((1, 2, 4, 8, 16, 64))
    fill = rng.choice((b"\0", b"\xff", None))
    run = rng.randbytes(length) if fill is None else fill * length
    data[start : start + length] = run[: len(data) - start]


def put_number(rng: Random, data: bytearray) -> None:
    """Write an extreme number anywhere."""
    put_extreme(rng, data, place(rng, data), rng.choice((1, 2, 4, 8)))


def put_extreme(
    rng: Random, data: bytearray, start: int, width: int, order: str | None = None
) -> None:
    """Write an extreme whole number, or one near that which is there."""
    chosen = order or rng.choice(("little", "big"))
    byte_order: str = "big" if chosen == "big" else "little"
    value = rng.choice(EXTREMES)
    if rng.random() < 0.3:
        held = int.from_bytes(data[start : start + width], byte_order)  # type: ignore[arg-type]
        value = held + rng.choice((-2, -1, 1, 2, 8, 256, held))
    content = (value % 256**width).to_bytes(width, byte_order)  # type: ignore[arg-type]
    data[start : start + width] = content[: max(len(data) - start, 0)]


def truncate(rng: Random, data: bytearray) -> None:
    """Cut the end off."""
    del data[rng.randrange(len(data)) :]


def append(rng: Random, data: bytearray) -> None:
    """Add noise at the end."""
    data += rng.randbytes(rng.choice((1, 8, 512)))


def delete_block(rng: Random, data: bytearray) -> None:
    """Leave a run of bytes out."""
    start = place(rng, data)
    del data[start : start + rng.choice((1, 2, 4, 8, 64, 512))]


def repeat_block(rng: Random, data: bytearray) -> None:
    """Put a run of bytes there twice."""
    start, length = place(rng, data), rng.choice((1, 4, 8, 64, 512))
    data[start:start] = data[start : start + length]


def copy_block(rng: Random, data: bytearray) -> None:
    """Write a run of bytes over another."""
    source, target, length = place(rng, data), place(rng, data), rng.choice((2, 4, 8, 24, 64))
    block = data[source : source + length]
    data[target : target + len(block)] = block
    del data[max(len(data), 1) :]


def splice(rng: Random, data: bytearray, other: bytes) -> None:
    """Go on with the rest of another file."""
    cut = rng.randrange(len(data))
    data[cut:] = other[min(cut, len(other)) :]


ANY: tuple[Change, ...] = (
    flip_bits,
    flip_bits,
    overwrite,
    put_number,
    put_number,
    truncate,
    append,
    delete_block,
    repeat_block,
    copy_block,
)
