"""Reading an honest file takes at most ten times its size, where that decides and not leeway."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.children import ran
from tests.hostile.large_files import LARGE, peak_of_reading

LIMIT = 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/clear_refs")
@pytest.mark.parametrize("suffix", LARGE)
def test_reading_takes_at_most_ten_times_the_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"large.{suffix}"
    LARGE[suffix](path)
    size = path.stat().st_size
    assert size >= 2**25 - 2**20
    peak = ran(peak_of_reading, path, path)[0]
    print(f"{suffix}: {peak / size:.2f} times the file")
    assert peak <= LIMIT * size
