"""Arrays of numpy.save: headers that claim anything."""

from __future__ import annotations

import struct
from io import BytesIO
from random import Random

import numpy as np

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.mutations import EXTREMES, mutated
from benchmarks.fuzzing.scan_readers import read_scan_and_image
from benchmarks.fuzzing.small_scan import COUNTS, IMAGE, INTEGRALS


def seeds() -> list[bytes]:
    """Return whole files."""
    arrays = (COUNTS, INTEGRALS, INTEGRALS[0], IMAGE, IMAGE[0].astype(">f8"), IMAGE[0] > 99)
    return [_saved(one) for one in arrays] + [_saved(np.asfortranarray(INTEGRALS))]


def _saved(values: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()


def with_header(text: str, values: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """Return a .npy file with a header of any text."""
    header = text.encode("utf-8" if version[0] == 3 else "latin1", "replace")
    length = struct.pack(
        "<H" if version[0] == 1 else "<I", len(header) % 2 ** (16 if version[0] == 1 else 32)
    )
    return b"\x93NUMPY" + bytes(version) + length + header + values


def odd_header(rng: Random) -> bytes:
    """Return a file whose header is well formed and claims what it should not."""
    descr = rng.choice((
        "'<f4'",
        "'|O'",
        "'<u2'",
        "'<U1000000000'",
        "'|V99'",
        "[('a', '<f4')]",
        "'<c8'",
        "'O4'",
        "1",
        "None",
        "'<f4, <f4'",
        "'m8[s]'",
        "''",
        "[('a', '|O')]",
        "('<f4', (2**30,))",
    ))
    shape = ", ".join(
        str(rng.choice((*EXTREMES, 12, 9, -1, 2**70))) for _ in range(rng.choice((0, 1, 2, 3, 40)))
    )
    shape = rng.choice((
        f"({shape},)",
        f"({shape},)",
        "()",
        "None",
        "(1.5, 2)",
        "(True, 9)",
        "('a',)",
        "(" * 300 + ")" * 300,
        "(" * 90 + ")" * 90,
        "-" * 4000 + "1",
        "(12L, 9L)",
        "(1e400,)",
        "9" * 5000,
    ))
    order = rng.choice(("True", "False", "1", "None"))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if rng.random() < 0.1:
        text = rng.choice((
            "[" * 3000,
            "{" + "'a':{" * 500,
            "__import__('os').system('echo')",
            "\0" * 50,
            "lambda: 1",
            text * 2,
        ))
    version = rng.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    return with_header(
        text + " " * rng.choice((0, 10)) + "\n",
        rng.randbytes(rng.choice((0, 100, 432, 864))),
        version,
    )


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    return odd_header(rng) if rng.random() < 0.4 else mutated(rng, whole)


NPY = FileFormat(
    name="npy",
    suffix=".npy",
    seeds=seeds,
    mutate=mutate,
    read=read_scan_and_image,
    readers="describe_file, read_image",
)
