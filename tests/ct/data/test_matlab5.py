"""MATLAB files of version 5 as SciPy writes and reads them, and those that claim anything."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from ct.data.matlab5 import read_matlab5
from ct.data.matlab_file import read_matlab
from tests.hostile.refusals import refused

RNG = np.random.default_rng(0)
NUMBERS = {
    **{
        f"n_{kind}": RNG.integers(0, 100, (3, 4)).astype(kind)
        for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    },
    "cube": RNG.normal(size=(2, 3, 4)),
    "row": np.arange(5.0),
    "one": 3.5,
    "small": np.array([[1, 2]], dtype=np.uint8),  # which stand in their tag
    "yes": np.eye(2) > 0,
    "waves": RNG.normal(size=(2, 2)) + 1j,
}
NESTED = {
    "a": 1.0,
    "b": {"text": "wörter", "c": {"m": RNG.normal(size=(2, 5))}},
    "lines": ["ab", "cde"],
}


def saved(folder: Path, content: dict[str, Any], *, packed: bool = False) -> Path:
    scipy.io.savemat(folder / "a.mat", content, do_compression=packed)
    return folder / "a.mat"


@pytest.mark.parametrize("packed", [False, True])
def test_numbers_are_those_that_scipy_reads(tmp_path: Path, packed: bool) -> None:
    path = saved(tmp_path, NUMBERS, packed=packed)
    ours = read_matlab5(path)
    theirs = scipy.io.loadmat(path, squeeze_me=True)
    assert list(ours) == list(NUMBERS)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
        assert values.shape == np.shape(theirs[name])
        assert values.dtype.kind in {np.asarray(theirs[name]).dtype.kind, "b"}


@pytest.mark.parametrize("packed", [False, True])
def test_structs_and_texts_are_those_that_scipy_reads(tmp_path: Path, packed: bool) -> None:
    struct_read = read_matlab(saved(tmp_path, {"s": NESTED}, packed=packed))["s"]
    assert struct_read["a"] == 1.0
    assert struct_read["b"]["text"] == "wörter"
    np.testing.assert_array_equal(struct_read["b"]["c"]["m"], NESTED["b"]["c"]["m"])
    assert struct_read["lines"] == ["ab", "cde"]


def test_bytes_in_the_other_order(tmp_path: Path) -> None:
    """As a machine of that kind writes them, by hand."""
    values = np.arange(6, dtype=">f8").reshape(2, 3)

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    body = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 3))
    body += element(1, b"m") + element(9, values.tobytes(order="F"))
    start = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x100) + b"MI"
    (tmp_path / "a.mat").write_bytes(start + element(14, body))
    np.testing.assert_array_equal(read_matlab5(tmp_path / "a.mat")["m"], values)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    cells = np.array([1, "a"], dtype=object)
    path = saved(tmp_path, {"cells": cells, "thin": scipy.sparse.eye_array(3), "m": np.eye(2)})
    content = read_matlab5(path)
    assert (content["cells"], content["thin"]) == ("cells", "a sparse matrix")
    np.testing.assert_array_equal(content["m"], np.eye(2))


def packed_variable(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return (
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(packed)) + packed
    )


def matrix(shape: tuple[int, int], data: bytes, kind: int = 6) -> bytes:
    body = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<IIii", 5, 8, *shape)
    body += struct.pack("<HH4s", 1, 1, b"m") + data
    return struct.pack("<II", 14, len(body)) + body


def numbers(claimed: int, data: bytes) -> bytes:
    return struct.pack("<II", 9, claimed) + data


def struct_in_structs(depth: int) -> bytes:
    """A struct with one field, which is a struct with one field, …"""
    inner = matrix((1, 1), numbers(8, bytes(8)))
    for _ in range(depth):
        fields = struct.pack("<HHI", 5, 4, 2) + struct.pack("<HH4s", 1, 2, b"a\0")
        inner = matrix((1, 1), fields + inner, kind=2)
    return inner


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (matrix((2**30, 2**30), numbers(8, bytes(8))), "1 values for an array of shape"),
        (matrix((-1, 4), numbers(8, bytes(8))), "a variable of shape"),
        (matrix((1, 1), numbers(2**32 - 8, bytes(8))), "claims 4294967288 bytes"),
        (matrix((2**31 - 1, 2**31 - 1), b"", kind=2), "ends within an element"),
        (matrix((1, 1), numbers(8, bytes(8)), kind=99), "unknown class 99"),
        (struct_in_structs(5000), "nested too deeply"),
        (
            matrix((2**31 - 1, 1), struct.pack("<II", 4, 2) + b"ab", kind=4),
            "letters for a text of",
        ),
        (bytes(200 * 2**20), "takes more than"),
    ],
    ids=["shape", "negative", "length", "struct", "class", "depth", "text", "bomb"],
)
def test_variables_that_claim_what_they_do_not_hold(
    tmp_path: Path, content: bytes, named: str
) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(packed_variable(content))
    refused(lambda: read_matlab5(path), path, named)


def test_structs_of_some_depth_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(packed_variable(struct_in_structs(3)))
    assert read_matlab5(path)["m"] == {"a": {"a": {"a": 0.0}}}


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    file = BytesIO()
    scipy.io.savemat(file, {"s": NESTED, "m": NUMBERS["cube"]})
    content = file.getvalue()
    path = tmp_path / "a.mat"
    whole = [128, len(content) - 8 - 2 * 3 * 4 * 8 - 48]  # before, and after the struct
    for size in range(1, len(content), 7):
        path.write_bytes(content[:size])
        if size not in whole:
            refused(lambda: read_matlab5(path), path, "truncated or damaged")
