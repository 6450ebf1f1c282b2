"""A damaged file of a checkpoint is named, and training goes on from the state before it."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from ensembles.checkpoint import checkpoint_at
from ensembles.checkpoint_files import CheckpointFiles, FileName
from ensembles.gathered import FittedMembers
from ensembles.progress import Progress
from ensembles.state_folder import LocalFolder
from ensembles.tensor_file import DamagedFileError, _digest
from tests.ensembles.checkpointed import (
    InterruptionError,
    assert_same,
    fit,
    interrupt_at,
    told_by,
)
from tests.faults.damage import DAMAGES, Damage, cut, empty, flip_a_bit


@pytest.fixture(autouse=True)
def _every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ensembles.open_checkpoint.SHARE", 1e9)


@pytest.fixture(scope="module")
def expected() -> FittedMembers:
    return fit()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    fit(checkpoint=folder)
    return folder


@pytest.fixture(scope="module")
def left_at_step_5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit with members 0 and 1 finished, that was left after four steps of the next two."""
    folder = tmp_path_factory.mktemp("left") / "fit"
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("ensembles.open_checkpoint.SHARE", 1e9)
        with pytest.raises(InterruptionError):
            fit(checkpoint=checkpoint_at(folder, seconds=1e-9), callback=interrupt_at(2, 5))
    return folder


@pytest.fixture
def left(left_at_step_5: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(left_at_step_5, tmp_path / "fit"))


def states(folder: Path) -> list[Path]:
    """Return the states on disk, the latest last."""
    return sorted(folder.glob("training-*"), key=lambda path: path.name.rsplit("-", 1)[1])


def go_on(folder: Path) -> tuple[FittedMembers, list[tuple[int, int]]]:
    told: list[Progress] = []
    return fit(checkpoint=folder, callback=told.append), told_by(told)


def test_the_last_two_states_of_members_in_training_are_kept(left: Path) -> None:
    assert [path.name for path in sorted(left.glob("[!.]*"))] == [
        "members-0-1.safetensors",
        "training-2-3-000024.safetensors",
        "training-2-3-000025.safetensors",
    ]


def test_a_damaged_state_is_named_and_the_one_before_it_is_used(
    left: Path, expected: FittedMembers
) -> None:
    older, latest = states(left)
    flip_a_bit(latest, random.Random(0))
    with pytest.warns(UserWarning, match=rf"{latest.name}.*before it is used, {older.name}"):
        found, told = go_on(left)
    assert told[0] == (2, 5)  # one step was lost
    assert_same(found, expected)
    assert states(left) == []
    go_on(left)  # what was damaged is gone, and warned of no more


def test_with_both_states_damaged_members_are_trained_anew(
    left: Path, expected: FittedMembers
) -> None:
    for path in states(left):
        cut(path, random.Random(1))
    with pytest.warns(UserWarning, match="Members 2–3 are trained anew") as warned:
        found, told = go_on(left)
    assert {word for one in warned for word in re.findall(r"training\S*00002\d", str(one.message))}
    assert len(warned) == 2
    assert told[0] == (2, 1)
    assert_same(found, expected)


@pytest.mark.parametrize(("which", "damage"), [(0, cut), (2, empty), (4, flip_a_bit)])
def test_damaged_members_are_named_and_trained_anew_beside_the_others(
    which: int, damage: Damage, whole: Path, tmp_path: Path, expected: FittedMembers
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "fit"))
    (path,) = folder.glob(f"members-{which}-*")
    damage(path, random.Random(which))
    with pytest.warns(UserWarning, match=rf"{path.name}.*Members {which}.* are trained anew"):
        found, told = go_on(folder)
    assert {first for first, _ in told} == {which}
    assert_same(found, expected)
    assert go_on(folder)[1] == []  # it has been replaced


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found_wherever_it_is(damage: Damage, left: Path) -> None:
    """None of 60 damaged files passes for whole, and none for foreign or newer."""
    files = CheckpointFiles(LocalFolder(left), {})
    rng = random.Random(2)
    for name in files.names() * 20:
        path = left / str(name)
        before = path.read_bytes()
        damage(path, rng)
        with pytest.raises(DamagedFileError, match=re.escape(str(path))):
            files.read(name)
        path.write_bytes(before)


def rewritten(path: Path, **changes: Any) -> None:
    """Write a file again with another header, as another program would."""
    with safe_open(path, framework="pt") as opened:
        header = dict(opened.metadata()) | changes
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    header["sha256"] = _digest(tensors, header)
    save_file(tensors, path, metadata=header)


@pytest.mark.parametrize("which", ["members", "training"])
def test_a_newer_version_is_refused_by_name_and_left_as_it_is(which: str, left: Path) -> None:
    path = max(left.glob(f"{which}-*"))
    rewritten(path, version="3")
    before = {one.name: one.read_bytes() for one in left.iterdir()}
    message = rf"checkpoint: .*{path.name}.*version 3.*install a newer bayesnn.*another folder"
    with pytest.raises(ValueError, match=message):
        fit(checkpoint=left)
    assert {one.name: one.read_bytes() for one in left.iterdir()} == before


def test_a_file_under_another_name_is_refused(left: Path, expected: FittedMembers) -> None:
    (left / "members-0-1.safetensors").rename(left / "members-2-3.safetensors")
    with pytest.warns(UserWarning, match=r"members-2-3.* does not hold what it is named by"):
        found, _ = go_on(left)
    assert_same(found, expected)


def test_what_only_looks_like_ours_is_left_alone(left: Path, expected: FittedMembers) -> None:
    names = ["members-00-1.safetensors", "members-3-2.safetensors", "training-0-1.safetensors.bak"]
    for name in names:
        (left / name).write_text("notes")
    found, _ = go_on(left)
    assert_same(found, expected)
    assert all((left / name).read_text() == "notes" for name in names)


def test_names_say_what_is_in_a_file() -> None:
    assert str(FileName(members=range(2, 5), state=None)) == "members-2-4.safetensors"
    assert str(FileName(members=range(2, 5), state=7)) == "training-2-4-000007.safetensors"


def test_a_description_that_lacks_something_is_damage(left: Path, expected: FittedMembers) -> None:
    path = states(left)[-1]
    rewritten(path, content=json.dumps({"members": [2, 4]}))
    with pytest.warns(UserWarning, match=path.name):
        found, _ = go_on(left)
    assert_same(found, expected)
