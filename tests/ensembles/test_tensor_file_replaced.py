"""Tensor files that other processes replace or remove while they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from ensembles.tensor_file import MissingFileError, read_tensor_file, write_tensor_file

FORMAT: dict[str, Any] = {"file_format": "test-format", "version": 2}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.ens"
    write_tensor_file(path, {"a": torch.zeros(6)}, {"name": "older"}, **FORMAT)
    return path


def test_a_file_that_is_replaced_while_it_is_opened_is_read_anew(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors opens the path once for the header and once for the numbers."""
    newer = good.with_name("newer")
    write_tensor_file(newer, {"a": torch.ones(6)}, {"name": "newer"}, **FORMAT)

    class Torn:
        """The old file's header over the new one's numbers."""

        def __init__(self, path: Path, framework: str) -> None:
            monkeypatch.setattr("ensembles.tensor_file.safe_open", safe_open)
            with safe_open(path, framework=framework) as old:
                self.metadata = dict(old.metadata() or {}).copy
            newer.replace(path)
            self._new = safe_open(path, framework=framework)

        def __enter__(self) -> Torn:
            self.keys, self.get_tensor = self._new.keys, self._new.get_tensor
            return self

        def __exit__(self, *error: object) -> None:
            self._new.__exit__(*error)

    monkeypatch.setattr("ensembles.tensor_file.safe_open", Torn)
    tensors, content = read_tensor_file(good, **FORMAT)
    assert content == {"name": "newer"}
    assert torch.equal(tensors["a"], torch.ones(6))


def test_a_file_that_is_removed_while_it_is_opened_is_missing(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(path: Path, **options: object) -> None:
        path.unlink()
        raise RuntimeError(f"unable to open file <{path}> in read-only mode: No such file (2)")

    monkeypatch.setattr("ensembles.tensor_file.safe_open", removed)
    with pytest.raises(MissingFileError, match=r"good.ens: no such file\.$"):
        read_tensor_file(good, **FORMAT)


def test_a_file_that_stays_unreadable_is_one_line(
    good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, **options: object) -> None:
        raise RuntimeError(f"unable to mmap 40 bytes from <{path}>: no memory (12)\nat here")

    monkeypatch.setattr("ensembles.tensor_file.safe_open", failing)
    with pytest.raises(ValueError, match=r"good.ens: cannot be read \(unable .* \(12\)\)\.$"):
        read_tensor_file(good, **FORMAT)
