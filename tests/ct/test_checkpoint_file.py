"""States on disk: whole whatever happens, of this work alone, and not written too often."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ct.checkpoint import Checkpoint
from ct.checkpoint_file import FileCheckpoint

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
    assert at(tmp_path, seed=1).part("slice-0").load() is None
    assert at(tmp_path, noise_std=0.1).part("slice-0").load() is None
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

    monkeypatch.setattr("ct.checkpoint_file.write_tensor_file", slow)
    for pause in (20.0, 40.0, 50.0):
        work.save({"step": torch.tensor(1)})
        work.flush()
        clock.now += pause - 0.1
        assert not work.due()
        clock.now += 0.2
        assert work.due()
        clock.now = 0.0


def test_a_damaged_state_is_none(tmp_path: Path) -> None:
    work = at(tmp_path)
    work.save({"step": torch.arange(1000)})
    work.flush()
    (file,) = (tmp_path / "state").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert at(tmp_path).load() is None
    file.write_bytes(b"")
    assert at(tmp_path).load() is None


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
