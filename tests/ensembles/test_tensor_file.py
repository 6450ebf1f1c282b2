"""Tensor files: whole, or refused with one clear error."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ensembles.tensor_file import _digest, read_tensor_file, write_tensor_file
from tests.ct.file_limits import python_with_small_files

FORMAT: dict[str, Any] = {"file_format": "test-format", "version": 2}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.ens"
    shared = torch.arange(6.0)
    tensors = {"a/b.c": shared, "view": shared[::2], "number": torch.tensor(3, dtype=torch.int64)}
    write_tensor_file(path, tensors, {"name": "Größe", "value": 0.1}, **FORMAT)
    return path


def test_everything_comes_back_bit_for_bit(good: Path) -> None:
    tensors, content = read_tensor_file(good, **FORMAT)
    assert content == {"name": "Größe", "value": 0.1}
    assert torch.equal(tensors["a/b.c"], torch.arange(6.0))
    assert torch.equal(tensors["view"], torch.tensor([0.0, 2.0, 4.0]))
    assert tensors["number"].dtype == torch.int64


def test_no_file_appears_where_writing_fails(tmp_path: Path) -> None:
    for content in ({"value": math.nan}, {"value": object()}):
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            write_tensor_file(tmp_path / "x", {"a": torch.zeros(1)}, content, **FORMAT)
    with pytest.raises(ValueError, match="does not exist"):
        write_tensor_file(tmp_path / "no" / "x", {"a": torch.zeros(1)}, {}, **FORMAT)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failed_write(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = good.read_bytes()

    def fail(*args: object, **kwargs: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr("ensembles.tensor_file.save_file", fail)
    with pytest.raises(RuntimeError):
        write_tensor_file(good, {"a": torch.zeros(1)}, {}, **FORMAT)
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


_WRITE = """
import sys, torch
from ensembles.tensor_file import write_tensor_file
try:
    write_tensor_file(sys.argv[1], {"a": torch.zeros(1000)}, {}, file_format="f", version=1)
except ValueError as error:
    print(error)
"""


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    # a real refusal by the system, as of a quota
    command = [*python_with_small_files(2000), "-c", _WRITE, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert re.search(r"x: cannot be written .*File too large.*; make room", done.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.1, 0.01])
def test_truncated_files_are_refused(good: Path, kept: float) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: max(1, int(kept * len(data)))])
    with pytest.raises(ValueError, match="truncated"):
        read_tensor_file(good, **FORMAT)


def test_missing_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ens"
    with pytest.raises(ValueError, match="no such file"):
        read_tensor_file(path, **FORMAT)
    with pytest.raises(ValueError, match="found a folder"):
        read_tensor_file(tmp_path, **FORMAT)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        read_tensor_file(path, **FORMAT)
    for foreign in (b"time,delay\n1,2\n" * 100, b"\x80\x04\x95" * 50, b"\x89HDF\r\n\x1a\n" * 9):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match="not a test-format file"):
            read_tensor_file(path, **FORMAT)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected a test-format file, found safetensors"):
        read_tensor_file(path, **FORMAT)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "other", "version": "1", "content": "{}"}, "found safetensors of format"),
        ({"format": "test-format", "version": "1", "content": "{}"}, "fit and save again"),
        ({"format": "test-format", "version": "3", "content": "{}"}, "install a newer bayesnn"),
        ({"format": "test-format", "version": "x", "content": "{}"}, "expected a version number"),
        ({"format": "test-format", "content": "{}"}, "expected a version number"),
        ({"format": "test-format", "version": "2", "content": "{"}, "description is damaged"),
        ({"format": "test-format", "version": "2", "content": "[]"}, "description is damaged"),
        ({"format": "test-format", "version": "2"}, "description is damaged"),
    ],
)
def test_other_headers_are_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    tensors = {"a": torch.zeros(1)}
    metadata["sha256"] = _digest(tensors, metadata)
    save_file(tensors, tmp_path / "x", metadata=metadata)
    with pytest.raises(ValueError, match=message):
        read_tensor_file(tmp_path / "x", **FORMAT)


def test_changed_contents_are_refused(good: Path) -> None:
    """A number, a name, the description, the shape: whatever the digest is not of."""
    with safe_open(good, framework="pt") as opened:
        header = dict(opened.metadata())
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    changed: list[tuple[dict[str, torch.Tensor], dict[str, str]]] = [
        (tensors | {"view": tensors["view"] + 1}, header),
        (tensors | {"view": tensors["view"].reshape(3, 1)}, header),
        (tensors | {"number": tensors["number"].to(torch.int32)}, header),
        ({("b" if k == "view" else k): v for k, v in tensors.items()}, header),
        (tensors | {"more": torch.zeros(1)}, header),
        (tensors, header | {"content": "{}"}),
        (tensors, header | {"another": "x"}),
        (tensors, {k: v for k, v in header.items() if k != "sha256"}),
    ]
    for new_tensors, new_header in changed:
        save_file(new_tensors, good, metadata=new_header)
        with pytest.raises(ValueError, match="do not match the digest"):
            read_tensor_file(good, **FORMAT)
    save_file(tensors, good, metadata=header)
    read_tensor_file(good, **FORMAT)
