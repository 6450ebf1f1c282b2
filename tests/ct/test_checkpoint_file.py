"""States on disk: whole whatever happens, of this work alone, and not written too often."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ct.checkpoint import Checkpoint
from ct.checkpoint_file import FileCheckpoint
from ct.state_files import FORMAT, VERSION
from ensembles.tensor_file import read_tensor_file, write_tensor_file

LAST_AND_BEFORE = (".safetensors", "~before.safetensors")
WORK = {"seed": 0, "slices": [0, 4], "noise_std": None}


class Clock:
    """Tells the time that a test wants it to be."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(folder: Path, clock: Clock | None = None, **work: object) -> FileCheckpoint:
    return FileCheckpoint(folder / "state", work={**WORK, **work}, clock=clock or Clock())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = {
        "a/b": torch.arange(6.0, dtype=torch.float64).view(2, 3).T,  # not contiguous
        "step": torch.tensor(7),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "accepted": torch.tensor([True, False]),
    }
    first = at(tmp_path).part("slice-3").part("fit")
    assert isinstance(first, Checkpoint)
    assert first.load() is None
    first.save(state)
    first.flush()
    found = at(tmp_path).part("slice-3").part("fit").load()
    assert found is not None
    assert found.keys() == state.keys()
    for name, value in state.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    for other in (at(tmp_path), at(tmp_path).part("slice-3"), at(tmp_path).part("slice-2")):
        assert other.load() is None


def test_a_state_of_other_work_is_never_loaded(tmp_path: Path) -> None:
    one = at(tmp_path).part("slice-0")
    one.save({"step": torch.tensor(7)})
    one.flush()
    for other in (at(tmp_path, seed=1), at(tmp_path, noise_std=0.1)):
        with pytest.warns(UserWarning, match=r"work\.slice-0\.safetensors: it is of another run"):
            assert other.part("slice-0").load() is None
    assert at(tmp_path).part("slice-0").load() is not None


def test_all_parts_write_once_in_a_while_and_lose_nothing(tmp_path: Path) -> None:
    clock = Clock()
    work = at(tmp_path, clock)
    first, second = work.part("first"), work.part("second")
    assert not first.due()
    state = {"step": torch.tensor(1)}
    first.save(state)  # it is done, before a write is due
    state["step"] += 1  # and its owner goes on with the same tensors
    assert work.is_empty()
    assert first.load() == {"step": torch.tensor(1)}
    clock.now += 19.9
    assert not second.due()
    clock.now += 0.2
    assert second.due()
    second.save({"step": torch.tensor(5)})
    assert not second.due()
    assert not first.due()
    again = at(tmp_path)
    assert again.part("first").load() == {"step": torch.tensor(1)}
    assert again.part("second").load() == {"step": torch.tensor(5)}
    work.clear()
    assert list(tmp_path.iterdir()) == []


def test_slow_writing_is_done_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    work = at(tmp_path, clock)

    seconds = iter((0.1, 2.0, 60.0))

    def slow(*_: object, **__: object) -> None:
        clock.now += next(seconds)

    monkeypatch.setattr("ct.state_files.write_tensor_file", slow)
    for pause in (20.0, 40.0, 50.0):
        work.save({"step": torch.tensor(1)})
        work.flush()
        clock.now += pause - 0.1
        assert not work.due()
        clock.now += 0.2
        assert work.due()
        clock.now = 0.0


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)


def _of_another_run(path: Path) -> None:
    tensors, content = read_tensor_file(path, file_format=FORMAT, version=VERSION)
    content["work"] = "0" * 64
    write_tensor_file(path, tensors, content, file_format=FORMAT, version=VERSION)


def _of_a_newer_version(path: Path) -> None:
    tensors, content = read_tensor_file(path, file_format=FORMAT, version=VERSION)
    write_tensor_file(path, tensors, content, file_format=FORMAT, version=VERSION + 1)


DAMAGES = {
    _truncated: "truncated",
    _emptied: "empty",
    _bit_flipped: "digest",
    _of_another_run: "another run",
    _of_a_newer_version: "install a newer bayesnn",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_state_that_cannot_be_used_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    work = at(tmp_path).part("fit")
    for step in range(3):
        work.save({"step": torch.tensor(step), "image": torch.arange(1000)})
        work.flush()
    last, before = (tmp_path / "state" / f"work.fit{end}" for end in LAST_AND_BEFORE)
    assert sorted((tmp_path / "state").iterdir()) == sorted([last, before])
    damage(last)
    with pytest.warns(UserWarning, match=f"fit.safetensors.*{DAMAGES[damage]}.*before it is used"):
        found = at(tmp_path).part("fit").load()
    assert found is not None
    assert int(found["step"]) == 1
    damage(before)
    with pytest.warns(UserWarning, match=f"fit~before.safetensors.*{DAMAGES[damage]}.*begins anew"):
        assert at(tmp_path).part("fit").load() is None


def test_a_write_that_was_killed_leaves_the_state_before(tmp_path: Path) -> None:
    work = at(tmp_path)
    work.save({"step": torch.tensor(7)})
    work.flush()
    last, before = (tmp_path / "state" / f"work{end}" for end in LAST_AND_BEFORE)
    last.replace(before)  # as the first step of the next write does
    (tmp_path / "state" / ".x.part.safetensors").write_bytes(b"half")
    assert not work.is_empty()
    assert at(tmp_path).load() == {"step": torch.tensor(7)}
    before.unlink()
    assert work.is_empty()


def test_parts_are_forgotten_each_for_itself(tmp_path: Path) -> None:
    work = at(tmp_path)
    places = ("slice-1", "slice-10", "slice-2")
    for _ in range(2):
        for place in places:
            work.part(place).part("fit").save({"step": torch.tensor(1)})
        work.flush()
    work.part("slice-1").part("rest").save({"step": torch.tensor(1)})  # waits in memory
    work.part("slice-1").clear()
    work.flush()
    left = [at(tmp_path).part(place).part("fit").load() is not None for place in places]
    assert left == [False, True, True]
    assert at(tmp_path).part("slice-1").part("rest").load() is None
    work.part("slice-10").clear()
    work.part("slice-2").clear()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    work = at(tmp_path)
    work.save({"step": torch.tensor(1)})
    with pytest.warns(UserWarning, match="cannot be saved.*would lose the slice in work"):
        work.flush()
    work.flush()
    assert work.load() == {"step": torch.tensor(1)}


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", "a.b"])
def test_names_of_parts_are_no_paths(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="part: expected a name"):
        at(tmp_path).part(name)


ENDLESS = """
import sys, torch
from pathlib import Path
from ct import checkpoint_file
checkpoint_file.SHARE = 1e9
work = checkpoint_file.FileCheckpoint(Path(sys.argv[1]), work=1, seconds=0.0)
for step in range(10**9):
    work.save({"a": torch.full((300_000,), step), "b": torch.full((300_000,), step)})
    print(step, flush=True)
"""


def test_a_kill_while_it_is_written_leaves_a_whole_state(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "state")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=60)[0].split()
    state = FileCheckpoint(tmp_path / "state", work=1).load()
    assert state is not None
    assert torch.equal(state["a"], state["b"])
    assert int(state["a"][0]) >= int(said[-1] if said else 0)
