import os

import pytest

from bayesnn.files import atomic_write, check_writable


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "result.h5"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), atomic_write(target) as temporary:
        temporary.write_text("new, but half")
        raise RuntimeError("half-way")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.h5"]


def test_a_finished_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "result.h5"
    target.write_text("old")
    with atomic_write(target) as temporary:
        assert temporary.suffix == ".h5"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.h5"]


def test_a_written_file_is_readable_by_others_as_the_umask_allows(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("path", ["", "missing/a.h5", "/proc/a.h5"])
def test_targets_that_cannot_be_written_are_refused_before_work(tmp_path, path):
    with pytest.raises(ValueError, match=r"does not exist|add a file name|cannot be written"):
        check_writable(tmp_path / path)
