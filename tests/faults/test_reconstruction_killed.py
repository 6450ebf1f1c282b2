"""Kill −9 of a reconstruction: nothing is half-written, and what goes on ends bit for bit alike."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults.children import ran, started
from tests.faults.kept_reconstructions import reconstruction, scan_of_slices, walk, walk_killed_in
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of_slices(tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def undisturbed(scan: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The result of a run that nothing befell, and its seconds."""
    return ran(reconstruction, scan, tmp_path_factory.mktemp("undisturbed") / "rec.h5")


@pytest.mark.parametrize("moment", random.Random(20).sample(range(5, 95), 5))
def test_a_run_that_is_killed_goes_on_bit_for_bit(
    moment: int, scan: Path, undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    """Killed in percent of its time, then once more early in what goes on from there."""
    bits, seconds = undisturbed
    output, finished = tmp_path / "rec.h5", 0
    for part in (moment / 100, 0.1):
        child = started(reconstruction, scan, output)
        time.sleep(part * seconds)
        child.kill()
        chunks = assert_reconstruction_is_whole(output)
        assert len(chunks) == len(set(chunks)) >= finished  # each once, and none is lost
        finished = 0 if output.exists() else len(chunks)
    assert ran(reconstruction, scan, output)[0] == bits
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["rec.h5"]
    assert not any(name in path.name for path in tmp_path.iterdir() for name in ("journal", "stat"))


def test_a_run_that_is_killed_in_a_file_operation_goes_on_bit_for_bit(
    scan: Path, tmp_path: Path
) -> None:
    """Between and within all kinds of operations; `benchmarks/faults.py` tries every one."""
    whole = tmp_path / "whole"
    whole.mkdir()
    bits = ran(walk, scan, whole / "rec.h5")[0]
    (whole / "rec.h5").unlink()
    n_operations = ran(walk_killed_in, scan, whole / "rec.h5", 0)[0]
    assert n_operations > 50
    last = n_operations - 6  # rename, and what is removed after it
    for operation in [*random.Random(20).sample(range(1, last), 5), *range(last, n_operations, 2)]:
        folder = tmp_path / str(operation)
        folder.mkdir()
        child = started(walk_killed_in, scan, folder / "rec.h5", operation)
        child.process.join(60)
        assert child.process.exitcode == -9, operation
        assert_reconstruction_is_whole(folder / "rec.h5")
        assert ran(walk, scan, folder / "rec.h5")[0] == bits, operation
        left = {path.name for path in folder.iterdir() if not _was_being_made(path)}
        assert left == {"rec.h5"}, operation


def _was_being_made(path: Path) -> bool:
    """Return whether a file is the probe of whether the folder can be written."""
    return path.name.startswith(".rec.h5.") and path.stat().st_size == 0
