"""Disks that are full, or not to be written: a fit goes on, says so, and makes up for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ensembles.checkpoint import checkpoint_at
from ensembles.gathered import FittedMembers
from ensembles.progress import Progress
from tests.ensembles.checkpointed import all_bits, assert_same, fit
from tests.faults.children import ran
from tests.faults.kept_fits import (
    bits_of_a_fit,
    fit_in_a_folder_without_permission,
    fit_that_loses_permission,
    fit_with_small_files,
    kept_fit,
)
from tests.faults.small_disk import MountError, fill, make_read_only, small_disk
from tests.faults.whole_files import assert_checkpoint_is_whole


@pytest.fixture(autouse=True)
def _every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensembles.open_checkpoint.SHARE", 1e9)


@pytest.fixture(scope="module")
def expected() -> FittedMembers:
    return fit()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 128) as place:
            yield place
    except MountError as error:
        pytest.skip(f"needs the right to mount a small disk: {error}")


@pytest.mark.parametrize("leaving", [0, 8])  # of the 10 KiB that a state takes
def test_a_full_disk_is_said_and_made_up_for_once_there_is_room(
    leaving: int, disk: Path, expected: FittedMembers
) -> None:
    folder = disk / "fit"
    folder.mkdir()
    (folder / ".lock").touch()
    ballast: list[Path] = []

    def fill_and_free(progress: Progress) -> None:
        if progress.step % 5 == 0:
            assert_checkpoint_is_whole(folder)
        if (progress.members[0], progress.step) == (0, 8):
            ballast.append(fill(disk, leaving=leaving))
        if (progress.members[0], progress.step) == (2, 12):
            ballast[0].unlink()

    where = checkpoint_at(folder, seconds=1e-9)
    with pytest.warns(UserWarning, match=r"cannot be written.*No space left.*Training goes on"):
        assert_same(fit(checkpoint=where, callback=fill_and_free), expected)
    assert sorted(path.name for path in folder.glob("[!.]*")) == [
        f"members-{which}.safetensors" for which in ("0-1", "2-3", "4-4")
    ]
    assert_same(fit(checkpoint=folder), expected)


def test_a_disk_that_stays_full_costs_no_result(disk: Path, expected: FittedMembers) -> None:
    def fill_up(progress: Progress) -> None:
        if (progress.members[0], progress.step) == (2, 3):
            fill(disk, leaving=0)

    where = checkpoint_at(disk / "fit", seconds=1e-9)
    with pytest.warns(UserWarning, match="No space left"):
        assert_same(fit(checkpoint=where, callback=fill_up), expected)
    assert assert_checkpoint_is_whole(disk / "fit") == 3  # members 0 and 1, two states of the next
    (disk / "ballast").unlink()
    told: list[Progress] = []
    assert_same(fit(checkpoint=disk / "fit", callback=told.append), expected)
    assert (told[0].members[0], told[0].step) == (2, 4)


def test_a_full_disk_is_refused_before_work(disk: Path) -> None:
    fill(disk, leaving=0)
    with pytest.raises(ValueError, match=r"checkpoint: .* not be written .*No space left"):
        fit(checkpoint=disk / "fit", callback=_no_work)


def test_from_a_read_only_disk_a_finished_fit_is_read_and_another_refused(
    disk: Path, expected: FittedMembers
) -> None:
    fit(checkpoint=disk / "fit")
    make_read_only(disk)
    assert_same(fit(checkpoint=disk / "fit", callback=_no_work), expected)
    with pytest.raises(ValueError, match=r"checkpoint: .* not be written \(Read-only file system"):
        fit(checkpoint=disk / "another", callback=_no_work)


def test_limited_files_are_said_once_and_cost_no_result(tmp_path: Path) -> None:
    """As a quota limits them; needs no right to mount."""
    (said, bits), _ = ran(fit_with_small_files, tmp_path, 2000)
    assert bits == bits_of_a_fit()
    assert [("File too large" in one, "Training goes on" in one) for one in said] == [(True, True)]
    assert assert_checkpoint_is_whole(tmp_path) == 0


@pytest.mark.parametrize("for_good", [False, True])
def test_permission_lost_midway_is_said_and_made_up_for(for_good: bool, tmp_path: Path) -> None:
    regained = None if for_good else (2, 5)
    said, bits = _unless_skipped(ran(fit_that_loses_permission, tmp_path, (0, 5), regained)[0])
    tmp_path.chmod(0o755)
    assert bits == bits_of_a_fit()
    assert len(said) == 1
    assert "Permission denied" in said[0]
    # of what came after, all was made up for, or nothing was written
    assert assert_checkpoint_is_whole(tmp_path) == (2 if for_good else 3)
    assert ran(kept_fit, tmp_path)[0] == bits


def test_a_folder_without_permission_is_refused_before_work(tmp_path: Path) -> None:
    """Also one that was locked before; one that holds a finished fit is read."""
    (tmp_path / ".lock").touch()
    tmp_path.chmod(0o555)
    said = _unless_skipped(ran(fit_in_a_folder_without_permission, tmp_path)[0])
    assert f"checkpoint: {tmp_path} cannot be made a folder, or not be written" in said
    assert "Permission denied" in said
    tmp_path.chmod(0o755)
    bits = ran(kept_fit, tmp_path)[0]
    tmp_path.chmod(0o555)
    assert ran(fit_in_a_folder_without_permission, tmp_path)[0] == bits == bits_of_a_fit()
    tmp_path.chmod(0o755)


def _no_work(progress: Progress) -> None:
    raise AssertionError(f"work has begun: {progress}")


def _unless_skipped(said: Any) -> Any:
    if said == "this process cannot give up root's rights":
        pytest.skip(said)
    return said


def test_the_fits_of_this_file_and_of_its_children_are_the_same() -> None:
    assert all_bits(fit()) == bits_of_a_fit()
