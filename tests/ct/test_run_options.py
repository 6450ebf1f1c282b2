"""What users say of a run, and what is no such thing."""

from __future__ import annotations

import pytest
import torch

from ct.run_options import choose_device, parse_bytes, parse_slices


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [(None, 3, [0, 1, 2]), ("1:3", 3, [1, 2]), (":1", 3, [0]), ("2:", 3, [2]), (":", 2, [0, 1])],
)
def test_slices(text: str | None, n: int, expected: list[int]) -> None:
    assert parse_slices(text, n) == expected


@pytest.mark.parametrize("text", ["2:2", "0:4", "3:", "1", "a:b", "-1:2", "0:2:1"])
def test_slices_that_are_not_there(text: str) -> None:
    with pytest.raises(ValueError, match="--slices: expected a:b"):
        parse_slices(text, 3)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match="--device"):
            choose_device(name)


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("512 MiB", 2**29), ("1.5G", 15 * 10**8), ("100", 100), ("1kB", 1000)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "2 TB", "0", "1e9", "2gb!"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="--memory-budget: expected a size such as 2GB"):
        parse_bytes(text)
