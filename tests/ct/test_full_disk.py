"""A disk without room: one line, before work starts where that can be known, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from ct.workflow import reconstruct_file
from tests.ct.file_limits import python_with_small_files
from tests.ct.workflow_runs import Walk, assert_same_result, config, fbp_config, finished

FBP = ("--method", "fbp", "--device", "cpu")


def test_a_full_disk_is_one_line_and_what_is_finished_is_kept(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    output, pwrite, written = tmp_path / "rec.h5", os.pwrite, []
    slice_bytes = 4 * 4 * 16 * 16  # mean, std and two samples

    def full_in_the_third_slice(file: int, data: memoryview, offset: int) -> int:
        if sum(written) > 2.6 * slice_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(pwrite(file, data[: len(data) // 2 + 1], offset))  # it may take a part
        return written[-1]

    monkeypatch.setattr("os.pwrite", full_in_the_third_slice)
    with pytest.raises(
        ValueError, match=r"No space left.*; 2 of 4 slices are kept.*make room and say --resume"
    ):
        reconstruct_file(config(stack, output))
    monkeypatch.undo()
    assert not output.exists()
    kept = finished(output)
    assert reconstruct_file(config(stack, output, resume=True)).resumed == len(kept)
    assert_same_result(tmp_path / "whole.h5", output)


def test_a_full_disk_is_found_before_work_starts(
    long_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(ValueError, match=r"it takes 0\.000229 GB, the disk has 1e-08 GB free"):
        reconstruct_file(fbp_config(long_stack, tmp_path / "rec.h5"))
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_is_one_line_and_leaves_nothing(
    long_stack: Path, tmp_path: Path
) -> None:
    # a real refusal by the system, as of a quota
    python = python_with_small_files(100_000)  # bytes: not enough for the 40 slices
    done = subprocess.run(
        [*python, "-m", "ct", "reconstruct", str(long_stack), "-o", "rec.h5", *FBP],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_in_the_end_keeps_all_slices(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, reserve, sizes = tmp_path / "rec.h5", os.posix_fallocate, []

    def full_in_the_end(file: int, offset: int, size: int) -> None:
        sizes.append(size)
        if len(sizes) == 3:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        reserve(file, offset, size)

    monkeypatch.setattr("os.posix_fallocate", full_in_the_end)
    with pytest.raises(
        ValueError, match=r"quota exceeded.*; 4 of 4 slices are kept beside [^,]*--resume"
    ):
        reconstruct_file(config(stack, output))
    assert not output.exists()
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 4
    assert output.stat().st_size < sizes[-1]


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Walk:
    """The method of all runs of a test, which saves its state after each of its steps."""
    method = Walk(taken=([],))
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: method)
    monkeypatch.setattr("ct.checkpoint_file.SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("ct.checkpoint_file.SHARE", 1e9)
    return method


def _fill_the_disk(monkeypatch: pytest.MonkeyPatch, *, writes: int) -> None:
    """Let no more than so many writes of images succeed."""
    pwrite, calls = os.pwrite, []

    def full(file: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data, offset)

    monkeypatch.setattr("os.pwrite", full)


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        (
            0,
            "no slice is finished, but the state of the first is kept beside {}; make room and say",
        ),
        (3, "1 of 4 slices are kept beside {}, and the state of the next; make room and say"),
    ],
)
def test_what_is_said_to_be_kept_is_gone_on_with(
    stack: Path,
    tmp_path: Path,
    walk: Walk,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    said: str,
) -> None:
    output, n_finished = tmp_path / "rec.h5", writes // 3  # mean, std and samples of a slice
    with monkeypatch.context() as patch:
        _fill_the_disk(patch, writes=writes)
        with pytest.raises(ValueError, match="No space left on device") as error:
            reconstruct_file(config(stack, output))
    assert said.format(output) in str(error.value)
    assert finished(output) == list(range(n_finished))
    walk.taken[0].clear()
    assert reconstruct_file(config(stack, output, resume=True)).resumed == n_finished
    # no step of the slice that found no room is taken again
    assert walk.taken[0] == list(range(walk.steps)) * (3 - n_finished)
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    assert_same_result(tmp_path / "whole.h5", output)


def test_a_state_that_waits_in_memory_is_written_before_it_is_counted(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_the_disk(monkeypatch, writes=0)  # long before a state is due
    with pytest.raises(ValueError, match="the state of the first is kept"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert any((tmp_path / ".rec.h5.state").iterdir())


def test_where_nothing_is_kept_that_is_said(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill_the_disk(monkeypatch, writes=0)
    with pytest.raises(ValueError, match=r"nothing is kept; make room and start again\.$"):
        reconstruct_file(fbp_config(stack, tmp_path / "rec.h5"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("walk")
def test_a_state_without_room_is_said_and_not_promised(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("ensembles.tensor_file.save_file", full)
    with pytest.warns(UserWarning, match="the state cannot be saved .*No space left") as said:
        summary = reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert (len(said), len(summary.slices)) == (1, 4)
    (tmp_path / "rec.h5").unlink()
    _fill_the_disk(monkeypatch, writes=0)
    with (
        pytest.warns(UserWarning, match="cannot be saved"),
        pytest.raises(ValueError, match="nothing is kept"),
    ):
        reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert list(tmp_path.iterdir()) == []


def test_slices_survive_a_real_limit_that_the_last_step_meets(
    long_stack: Path, tmp_path: Path
) -> None:
    command = ["-m", "ct", "reconstruct", str(long_stack), "-o", "rec.h5", *FBP]
    python = python_with_small_files(232_000)  # bytes: the images, and not all said of them
    full = subprocess.run(
        [*python, *command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (full.returncode, full.stdout) == (2, "")
    assert "File too large); 40 of 40 slices are kept beside rec.h5; make room" in full.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".rec.h5.journal",
        ".rec.h5.partial",
    ]
    resumed = subprocess.run(
        [sys.executable, *command, "--resume"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "40, 40 of an earlier run" in resumed.stdout
    assert_same_result(long_stack.with_name("whole.h5"), tmp_path / "rec.h5")
