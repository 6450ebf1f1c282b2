"""What may befall a file: it is cut, emptied, a bit of it flips."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, random.Random], None]


def cut(path: Path, rng: random.Random) -> None:
    """Keep the beginning alone."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content))])


def empty(path: Path, rng: random.Random) -> None:
    """Keep the name alone."""
    path.write_bytes(b"")


def flip_a_bit(path: Path, rng: random.Random) -> None:
    """Change one bit anywhere."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def overwrite_a_block(path: Path, rng: random.Random) -> None:
    """Lose up to 512 bytes to zeros, as a disk does."""
    content = bytearray(path.read_bytes())
    first = rng.randrange(len(content))
    block = content[first : first + 512]
    # zeros that were zeros before are no damage
    content[first : first + 512] = bytes(len(block)) if any(block) else b"\xff" * len(block)
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "cut": cut, "empty": empty, "bit": flip_a_bit, "block": overwrite_a_block
}  # fmt: skip
