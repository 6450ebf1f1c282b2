"""A saved ensemble that is replaced is the old one or the new one, whatever befalls the process."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from ensembles import EnsembleRegressor
from tests.ensembles.checkpointed import X
from tests.faults.children import ran, started
from tests.faults.kept_saves import (
    fitted,
    save_forever,
    save_with_small_files,
    save_without_permission,
)
from tests.faults.small_disk import MountError, fill, make_read_only, small_disk


def assert_one_of_both(path: Path) -> None:
    found = EnsembleRegressor.load(path).predict(X)
    assert any(np.array_equal(found, fitted(seed).predict(X)) for seed in (1, 2))


def test_killed_while_saving_it_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    rng = random.Random(4)
    path = tmp_path / "model.ens"
    for _ in range(4):
        child = started(save_forever, path)
        assert child.said() == "saving"
        end = time.monotonic() + 0.1 * rng.random()
        while time.monotonic() < end:
            assert_one_of_both(path)
        assert child.kill()
        assert_one_of_both(path)
    others = [one.name for one in tmp_path.iterdir() if one != path]
    assert all(name.startswith(".") for name in others)  # what it was writing, no more


def test_a_limit_on_files_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "model.ens"
    fitted(2).save(path)
    said, _ = ran(save_with_small_files, path, 2000)
    assert said.startswith(f"{path}: cannot be written (")
    assert "File too large" in said
    assert np.array_equal(EnsembleRegressor.load(path).predict(X), fitted(2).predict(X))
    assert list(tmp_path.iterdir()) == [path]


def test_without_permission_the_old_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.ens"
    fitted(2).save(path)
    said, _ = ran(save_without_permission, path)
    if said == "this process cannot give up root's rights":
        pytest.skip(said)
    assert said == f"{path}: the folder cannot be written (Permission denied); choose another."
    assert np.array_equal(EnsembleRegressor.load(path).predict(X), fitted(2).predict(X))


def test_a_full_and_a_read_only_disk_leave_the_old(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 64) as disk:
            path = disk / "model.ens"
            fitted(2).save(path)
            fill(disk, leaving=4)
            with pytest.raises(ValueError, match=r"model.ens: cannot be written .*No space left"):
                fitted(1).save(path)
            assert sorted(one.name for one in disk.iterdir()) == ["ballast", "model.ens"]
            make_read_only(disk)
            with pytest.raises(ValueError, match=r"cannot be written \(Read-only file system"):
                fitted(1).save(path)
            found = EnsembleRegressor.load(path).predict(X)
    except MountError as error:
        pytest.skip(f"needs the right to mount a small disk: {error}")
    assert np.array_equal(found, fitted(2).predict(X))
