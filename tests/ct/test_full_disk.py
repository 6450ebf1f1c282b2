"""A disk without room: one line, before work starts where that can be known, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ct.workflow import reconstruct_file
from tests.ct.file_limits import python_with_small_files
from tests.ct.workflow_runs import assert_same_result, config, fbp_config, finished

FBP = ("--method", "fbp", "--device", "cpu")


def test_a_full_disk_is_one_line_and_what_is_finished_is_kept(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    output, pwrite, calls = tmp_path / "rec.h5", os.pwrite, []

    def full_in_the_third_slice(file: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 9:  # mean, std and samples of two slices, mean and std of the third
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(file, data[: len(data) // 2 + 1], offset)  # a disk may take part of it

    monkeypatch.setattr("os.pwrite", full_in_the_third_slice)
    with pytest.raises(ValueError, match=r"No space left.*; . of 4 slices are kept.*--resume"):
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
    with pytest.raises(ValueError, match=r"quota exceeded.*; 4 of 4 slices are kept.*--resume"):
        reconstruct_file(config(stack, output))
    assert not output.exists()
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 4
    assert output.stat().st_size < sizes[-1]
