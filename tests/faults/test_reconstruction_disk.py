"""Disks that are full or not to be written: refused before work, or nothing finished is lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from ct.partial_result import state_path
from tests.faults.children import ran
from tests.faults.kept_reconstructions import (
    reconstructed,
    scan_of_slices,
    use_walk,
    walk,
    walk_that_loses_permission,
)
from tests.faults.small_disk import MountError, fill, make_read_only, small_disk
from tests.faults.whole_reconstructions import assert_reconstruction_is_whole

pytestmark = pytest.mark.usefixtures("reconstructs_here")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of_slices(tmp_path_factory.mktemp("scan"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 256) as place:
            yield place
    except MountError as error:
        pytest.skip(f"needs the right to mount a small disk: {error}")


@pytest.mark.parametrize("moment", [2.1, 2.5])
def test_a_disk_that_fills_up_keeps_what_is_finished(
    scan: Path, disk: Path, tmp_path: Path, moment: float
) -> None:
    """Images have their room from the start; the journal, and states but the last two, have not."""
    use_walk(steps=6)
    bits = reconstructed(scan, tmp_path / "whole.h5")
    output, ballast = disk / "rec.h5", []

    def fill_up(done: float, _: float) -> None:
        if done >= moment and not ballast:
            ballast.append(fill(disk, leaving=0))

    with (
        warnings.catch_warnings(record=True) as caught,
        pytest.raises(
            ValueError,
            match=r"rec.h5: cannot be written \(No space left.*make room and say --resume",
        ) as error,
    ):
        warnings.simplefilter("always")
        reconstructed(scan, output, progress=fill_up)
    said = ["state cannot be saved" in str(one.message) for one in caught]
    assert said == ([True] if moment == 2.1 else [])
    ballast[0].unlink()
    chunks = assert_reconstruction_is_whole(output)
    assert f"{len(chunks)} of 4 slices are kept" in str(error.value)
    assert len(chunks) >= 2
    assert reconstructed(scan, output) == bits
    assert [path.name for path in disk.iterdir()] == ["rec.h5"]


def test_a_full_disk_is_refused_before_work_and_left_as_it_is(scan: Path, disk: Path) -> None:
    use_walk(steps=1)
    fill(disk, leaving=40)
    with pytest.raises(ValueError, match=r"rec.h5: cannot be written .*make room or choose"):
        reconstructed(scan, disk / "rec.h5", progress=_no_work)
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_a_read_only_disk_is_refused_before_work(scan: Path, disk: Path) -> None:
    use_walk(steps=1)
    make_read_only(disk)
    with pytest.raises(ValueError, match=r"rec.h5: the folder cannot be written \(Read-only"):
        reconstructed(scan, disk / "rec.h5", progress=_no_work)


@pytest.mark.parametrize("slices_done", [0.5, 2.5])
def test_permission_lost_midway_loses_nothing(
    scan: Path, tmp_path: Path, slices_done: float
) -> None:
    """Open files are written on; states cannot be, nor can the result get its name."""
    folder = tmp_path / "out"
    folder.mkdir()
    answer = ran(walk_that_loses_permission, scan, folder / "rec.h5", slices_done)[0]
    folder.chmod(0o755)
    state_path(folder / "rec.h5").chmod(0o755)
    if isinstance(answer, str):
        pytest.skip(answer)
    warned, error = answer
    assert ["the state cannot be saved" in one for one in warned] == [True]
    assert "rec.h5: cannot be written (Permission denied); 4 of 4 slices are kept" in error
    assert "mend that and say --resume" in error
    assert assert_reconstruction_is_whole(folder / "rec.h5") == [0, 1, 2, 3]
    use_walk(steps=6)
    whole = reconstructed(scan, tmp_path / "whole.h5")
    assert reconstructed(scan, folder / "rec.h5") == whole
    assert [path.name for path in folder.iterdir()] == ["rec.h5"]
    assert ran(walk, scan, tmp_path / "other.h5")[0] != whole  # of three steps, not six


def test_a_folder_that_cannot_be_written_is_refused_before_work(scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o555)
    answer = ran(walk_that_loses_permission, scan, folder / "rec.h5", 9)[0]
    if isinstance(answer, str):
        pytest.skip(answer)
    assert "rec.h5: the folder cannot be written (Permission denied)" in answer[1]
    assert list(folder.iterdir()) == []


def _no_work(done: float, _: float) -> None:
    raise AssertionError(f"work has begun: {done}")
