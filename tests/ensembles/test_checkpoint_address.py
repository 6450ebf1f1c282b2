"""Checkpoints at fsspec addresses: as in a local folder, also where writes fail midway."""

from __future__ import annotations

import sys
from pathlib import Path

import fsspec
import pytest

from ensembles.checkpoint import checkpoint_at
from ensembles.gathered import FittedMembers
from ensembles.progress import Progress
from ensembles.state_folder import LocalFolder, state_folder
from tests.ensembles.checkpointed import (
    InterruptionError,
    assert_same,
    fit,
    interrupt_at,
    told_by,
)
from tests.faults.half_written import HalfWritingStore


@pytest.fixture(autouse=True)
def _every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensembles.open_checkpoint.SHARE", 1e9)


@pytest.fixture(scope="module")
def expected() -> FittedMembers:
    return fit()


def left_at(address: str, member: int, step: int) -> None:
    with pytest.raises(InterruptionError):
        fit(checkpoint=checkpoint_at(address, seconds=1e-9), callback=interrupt_at(member, step))


def test_a_fit_in_memory_goes_on_bit_for_bit(expected: FittedMembers) -> None:
    address = "memory://somewhere/fits/first"
    left_at(address, 2, 6)
    there = [
        path.rsplit("/", 1)[1] for path in fsspec.filesystem("memory").ls(address, detail=False)
    ]
    assert sorted(there) == [
        "members-0-1.safetensors",
        "training-2-3-000025.safetensors",
        "training-2-3-000026.safetensors",
    ]
    told: list[Progress] = []
    assert_same(fit(checkpoint=address, callback=told.append), expected)
    assert told_by(told)[0] == (2, 7)
    assert_same(fit(checkpoint=address, callback=interrupt_at(0, 1)), expected)  # it is read


def test_other_fits_and_damage_are_refused_by_address(expected: FittedMembers) -> None:
    address = "memory://another"
    left_at(address, 2, 6)
    with pytest.raises(
        ValueError, match=r"in memory://another belongs to .* other seed .*; delete mem"
    ):
        fit(checkpoint=address, seed=2)
    store = fsspec.filesystem("memory")
    latest = max(path for path in store.ls(address, detail=False) if "training" in path)
    store.pipe_file(latest, store.cat_file(latest)[:-100])
    with pytest.warns(
        UserWarning, match=r"memory://another/training-2-3-000026.*before it is used"
    ):
        assert_same(fit(checkpoint=address), expected)


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_state_that_goes_once_it_is_listed_is_passed_over(
    kind: str, expected: FittedMembers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody else writes and nothing can be locked."""
    address = "memory://going" if kind == "memory" else str(tmp_path)
    left_at(address, 2, 6)
    folder = type(state_folder(address))
    there = folder.names
    gone = "training-2-3-000027.safetensors"
    monkeypatch.setattr(folder, "names", lambda self: [*there(self), gone])
    told: list[Progress] = []
    assert_same(fit(checkpoint=address, callback=told.append), expected)
    assert told_by(told)[0] == (2, 7)


def test_a_write_that_fails_midway_is_said_and_made_up_for(expected: FittedMembers) -> None:
    """The 21st write is that of the first members: it is repeated with the next ones."""
    HalfWritingStore.fresh(failing={5, 21})
    address = "half-writing://fit"
    with pytest.warns(
        UserWarning, match=r"half-writing://fit: .*connection reset.* goes on"
    ) as said:
        assert_same(fit(checkpoint=checkpoint_at(address, seconds=1e-9)), expected)
    assert len(said) == 2
    assert sorted(HalfWritingStore.store) == [
        f"/fit/members-{i}.safetensors" for i in ("0-1", "2-3", "4-4")
    ]
    assert_same(fit(checkpoint=address, callback=interrupt_at(0, 1)), expected)


def test_half_an_object_that_stays_is_passed_over(expected: FittedMembers) -> None:
    HalfWritingStore.fresh(failing={7}, keeps_halves=True)
    address = "half-writing://fit"
    with pytest.warns(UserWarning, match="000007.* cannot be written"):
        left_at(address, 0, 7)
    told: list[Progress] = []
    with pytest.warns(UserWarning, match=r"000007.*before it is used, training-0-1-000006"):
        assert_same(fit(checkpoint=address, callback=told.append), expected)
    assert told_by(told)[0] == (0, 7)
    assert all("members" in name for name in HalfWritingStore.store)


def test_addresses_of_files_are_local_folders(tmp_path: Path) -> None:
    assert isinstance(state_folder(f"file://{tmp_path}/fit"), LocalFolder)
    left_at(f"file://{tmp_path}/fit", 0, 2)
    assert (tmp_path / "fit" / "training-0-1-000002.safetensors").exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nowhere://x", "Protocol not known"),
        ("gs://bucket/x", "gcsfs"),
        ("zip://x.zip", "director"),
    ],
)
def test_what_fsspec_cannot_reach_is_refused_in_one_line(address: str, why: str) -> None:
    with pytest.raises(
        ValueError, match=f"{address}: expected a path, or .* fsspec knows; .*{why}"
    ):
        fit(checkpoint=address)


def test_local_folders_need_no_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ensembles.remote_folder", raising=False)
    monkeypatch.setitem(sys.modules, "fsspec", None)  # an import of it fails
    fit(checkpoint=tmp_path / "fit")
    assert (tmp_path / "fit" / "members-4-4.safetensors").exists()
