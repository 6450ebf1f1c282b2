"""HDF5: whole files with their structure changed, and odd ones."""

from __future__ import annotations

from random import Random

from benchmarks.fuzzing.file_format import FileFormat
from benchmarks.fuzzing.hdf5_odd import odd_file
from benchmarks.fuzzing.hdf5_seeds import seeds
from benchmarks.fuzzing.mutations import mutated, put_extreme
from benchmarks.fuzzing.scan_readers import read_result_file


def change_structure(rng: Random, data: bytearray) -> None:
    """Write an extreme number just behind a signature or into an object header."""
    names = (
        b"TREE",
        b"SNOD",
        b"HEAP",
        b"OHDR",
        b"OCHK",
        b"FRHP",
        b"FADB",
        b"EAHD",
        b"FHDB",
        b"BTHD",
        b"GCOL",
        b"\x01\x00\x01\x00",
        b"\x89HDF",
    )
    found = [data.find(name) for name in names]
    found = [one for one in found if one >= 0]
    if found:
        start = rng.choice(found)
        start = (
            data.find(data[start : start + 4], rng.randrange(start, len(data)))
            if rng.random() < 0.5
            else start
        )
        start = max(start, 0) + rng.choice((4, 5, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 80))
        put_extreme(rng, data, start, rng.choice((1, 2, 4, 8)), "little")


def mutate(rng: Random, whole: list[bytes]) -> bytes:
    """Return a hostile file."""
    if rng.random() < 0.25:
        odd = odd_file(rng)
        return odd if rng.random() < 0.7 else mutated(rng, [odd], change_structure)
    return mutated(rng, whole, change_structure)


HDF5 = FileFormat(
    name="hdf5",
    suffix=".h5",
    seeds=seeds,
    mutate=mutate,
    read=read_result_file,
    readers="describe_file, open_scan, read_result, merge_results",
)
