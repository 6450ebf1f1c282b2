"""Finished slices and states at another address: another machine goes on with them."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch

from bayesnn.executors.sending import packed, unpacked
from ct.checkpoint import Forgetful
from ct.checkpoint_file import FileCheckpoint
from ct.cli import run
from ct.copied_chunk import FORMAT, VERSION
from ct.partial_result import journal_path
from ct.state_files import AddressedStateFiles, StateFiles
from ct.state_place import state_place
from ct.workflow import Interrupted, reconstruct_file
from ensembles.state_folder import state_folder
from ensembles.tensor_file import read_tensor_file, write_tensor_file
from tests.ct.scattered import ScatteredExecutor
from tests.ct.workflow_runs import (
    Walk,
    assert_same_result,
    config,
    fbp_config,
    finished,
    interrupt_after,
)


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Walk:
    """A method of many steps, whose state is saved after each."""
    walk = Walk(steps=8, taken=([],))
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: walk)
    monkeypatch.setattr("ct.checkpoint_file.SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("ct.checkpoint_file.SHARE", 1e9)
    return walk


@pytest.fixture(params=["folder", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An address of each kind; what is in memory is removed."""
    name = uuid.uuid4().hex
    yield str(tmp_path / name) if request.param == "folder" else f"memory://{name}"
    if request.param == "memory":
        fsspec.filesystem("memory").rm(f"/{name}", recursive=True)


def machine(folder: Path, name: str) -> Path:
    """Return the output on a machine that has seen nothing."""
    (folder / name).mkdir()
    return folder / name / "rec.h5"


def names(address: str) -> list[str]:
    return state_folder(address).names()


def test_another_machine_goes_on_from_the_last_state(
    walk: Walk, stack: Path, tmp_path: Path, address: str
) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    walk.taken[0].clear()
    first = machine(tmp_path, "first")
    with pytest.raises(Interrupted, match=r"1 of 4 slices are kept beside .* and at "):
        reconstruct_file(config(stack, first, checkpoint=address), progress=interrupt_after(1.5, 4))
    kept = names(address)
    assert kept[0] == "slices-000000.safetensors"
    assert all(name.startswith("state-work.slice-1.walk-") for name in kept[1:])
    assert 1 <= len(kept[1:]) <= 2
    assert not first.with_name(".rec.h5.state").exists()
    shutil.rmtree(first.parent)  # the machine is gone

    second = machine(tmp_path, "second")
    summary = reconstruct_file(config(stack, second, checkpoint=address, resume=True))
    assert summary.resumed == 1
    assert_same_result(tmp_path / "whole.h5", second)
    assert names(address) == [f"slices-{chunk:06d}.safetensors" for chunk in range(4)]
    assert [path.name for path in second.parent.iterdir()] == ["rec.h5"]
    assert len(walk.taken[0]) < 5 * walk.steps  # the steps before the interruption count

    third = machine(tmp_path, "third")
    again = reconstruct_file(config(stack, third, checkpoint=address, resume=True))
    assert again.resumed == 4
    assert_same_result(second, third)


@pytest.mark.usefixtures("walk")
def test_slices_of_either_place_count(stack: Path, tmp_path: Path, address: str) -> None:
    """Slices made without the address are brought there, those made elsewhere are fetched."""
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    one, other = machine(tmp_path, "one"), machine(tmp_path, "other")
    with pytest.raises(Interrupted):
        reconstruct_file(config(stack, one), progress=interrupt_after(1, 4))
    with pytest.raises(Interrupted):
        reconstruct_file(
            config(stack, one, checkpoint=address, resume=True), progress=interrupt_after(2, 4)
        )
    assert [name for name in names(address) if name.startswith("slices")] == [
        "slices-000000.safetensors",
        "slices-000001.safetensors",
    ]
    with pytest.raises(Interrupted):
        reconstruct_file(
            config(stack, other, checkpoint=address, resume=True), progress=interrupt_after(3, 4)
        )
    assert sorted(finished(other)) == [0, 1, 2]
    assert sorted(finished(one)) == [0, 1]
    assert reconstruct_file(config(stack, one, checkpoint=address, resume=True)).resumed == 3
    assert_same_result(tmp_path / "whole.h5", one)


@pytest.mark.usefixtures("walk")
def test_executors_keep_slices_there_too(stack: Path, tmp_path: Path, address: str) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    there = {"checkpoint": address, "executor": ScatteredExecutor()}
    first, second = machine(tmp_path, "first"), machine(tmp_path, "second")
    with pytest.raises(Interrupted):
        reconstruct_file(config(stack, first, **there), progress=interrupt_after(2, 4))
    summary = reconstruct_file(config(stack, second, **there, resume=True))
    assert summary.resumed >= 1
    assert_same_result(tmp_path / "whole.h5", second)


def test_what_is_there_is_not_taken_unasked(stack: Path, tmp_path: Path, address: str) -> None:
    reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", checkpoint=address))
    with pytest.raises(ValueError, match="holds slices or states of an earlier run; say --resume"):
        reconstruct_file(fbp_config(stack, tmp_path / "other.h5", checkpoint=address))
    assert not (tmp_path / "other.h5").exists()


def test_slices_of_other_work_are_refused_by_name(
    stack: Path, tmp_path: Path, address: str
) -> None:
    reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", checkpoint=address))
    other = {"checkpoint": address, "resume": True, "noise_std": 0.5}
    with pytest.raises(ValueError, match="kept there differ in noise_std"):
        reconstruct_file(fbp_config(stack, tmp_path / "other.h5", **other))


@pytest.mark.filterwarnings("ignore:memory budget")  # for one slice at a time
def test_damaged_slices_are_named_and_made_again(stack: Path, tmp_path: Path) -> None:
    address = tmp_path / "kept"
    made = {"checkpoint": str(address), "resume": True, "memory_budget": 1}
    reconstruct_file(fbp_config(stack, tmp_path / "whole.h5", **made))
    files = sorted(address.glob("slices-*"))
    assert len(files) == 4
    content = bytearray(files[1].read_bytes())
    content[-5] ^= 1
    files[1].write_bytes(content)
    files[2].write_bytes(files[2].read_bytes()[:-1])
    with pytest.warns(UserWarning, match="Its slices are made again") as warned:
        summary = reconstruct_file(fbp_config(stack, tmp_path / "again.h5", **made))
    said = " ".join(str(one.message) for one in warned)
    assert "slices-000001" in said
    assert "slices-000002" in said
    assert summary.resumed == 2
    assert_same_result(tmp_path / "whole.h5", tmp_path / "again.h5")
    assert reconstruct_file(fbp_config(stack, tmp_path / "third.h5", **made)).resumed == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": -1}, "found something else"),
        ({"first": 3}, "found something else"),
        ({"first": True}, "found something else"),
        ({"records": []}, "found something else"),
        ({"records": [{"slice": 0}]}, "found something else"),
        ({"work": "no work"}, "differ in .*sinogram"),
    ],
)
def test_files_that_cannot_be_are_refused(
    stack: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    made = {"checkpoint": str(tmp_path / "kept"), "resume": True}
    reconstruct_file(fbp_config(stack, tmp_path / "whole.h5", **made))
    path = tmp_path / "kept/slices-000000.safetensors"
    tensors, content = read_tensor_file(path, file_format=FORMAT, version=VERSION)
    write_tensor_file(path, tensors, {**content, **change}, file_format=FORMAT, version=VERSION)
    with pytest.raises(ValueError, match=message):
        reconstruct_file(fbp_config(stack, tmp_path / "again.h5", **made))
    write_tensor_file(path, tensors, content, file_format=FORMAT, version=VERSION + 1)
    with pytest.raises(ValueError, match="install a newer bayesnn"):
        reconstruct_file(fbp_config(stack, tmp_path / "again.h5", **made))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slice", "0"),
        ("raised", None),
        ("noise_std", "loud"),
        ("noise_std_source", "guessed"),
        ("calibration", 1),
        ("diagnostics", []),
        ("diagnostics", {"findings": [{"name": "noise"}]}),
        ("diagnostics", {"std_scale": [1]}),
        ("held_out_coverage", {"0.95": "all"}),
    ],
)
def test_records_that_cannot_be_are_refused(
    stack: Path, tmp_path: Path, name: str, value: object
) -> None:
    made = {"checkpoint": str(tmp_path / "kept"), "resume": True}
    reconstruct_file(fbp_config(stack, tmp_path / "whole.h5", **made))
    path = tmp_path / "kept/slices-000000.safetensors"
    tensors, content = read_tensor_file(path, file_format=FORMAT, version=VERSION)
    content["records"][0][name] = value
    write_tensor_file(path, tensors, content, file_format=FORMAT, version=VERSION)
    with pytest.raises(ValueError, match="found something else"):
        reconstruct_file(fbp_config(stack, tmp_path / "again.h5", **made))


@pytest.mark.filterwarnings("ignore:memory budget")  # for one slice at a time
def test_an_address_that_cannot_be_written_costs_a_warning(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be copied is copied once that is possible."""
    from fsspec.implementations.memory import MemoryFileSystem

    put, calls = MemoryFileSystem.put_file, []

    def fails(self: object, *arguments: object, **options: object) -> None:
        calls.append(arguments)
        if len(calls) < 3:
            raise OSError("no connection")
        put(self, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "put_file", fails)
    address = f"memory://{uuid.uuid4().hex}"
    made = {"checkpoint": address, "memory_budget": 1}
    with pytest.warns(UserWarning, match="--checkpoint: .*no connection.*work goes on") as warned:
        reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", **made))
    assert sum(str(one.message).startswith("--checkpoint") for one in warned) == 1
    assert names(address) == [f"slices-{chunk:06d}.safetensors" for chunk in range(4)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "expected a folder or an address, got an empty one"),
        ("nowhere://bucket", "expected a path, or an address that fsspec knows"),
        ("{folder}/file", "cannot be made a folder"),
    ],
)
def test_addresses_that_cannot_be_are_refused_before_work(
    stack: Path, tmp_path: Path, address: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    where = ["--checkpoint", address.format(folder=tmp_path)]
    output = tmp_path / "rec.h5"
    assert run(["reconstruct", str(stack), "-o", str(output), "--method", "fbp", *where]) != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert not output.exists()


def test_two_processes_at_one_folder_are_told_apart(stack: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with (
        state_folder(kept).locked(),
        pytest.raises(ValueError, match="another process is writing into"),
    ):
        reconstruct_file(fbp_config(stack, tmp_path / "rec.h5", checkpoint=str(kept)))


def test_states_at_an_address_are_read_from_the_last_and_cleared_by_part(address: str) -> None:
    folder = state_folder(address)
    with folder.locked():
        files = AddressedStateFiles(folder)
        assert isinstance(files, StateFiles)
        assert files.is_empty()
        for step in range(4):
            for part in ("work.slice-1", "work.slice-1.fit", "work.slice-10"):
                files.write(part, {"step": torch.tensor(step)}, {"work": "0"})
        again = AddressedStateFiles(folder)
        found = [read() for _, read in again.readers("work.slice-1")]
        assert [int(tensors["step"]) for tensors, _ in found] == [3, 2]
        again.clear("work.slice-1")
        assert [*AddressedStateFiles(folder).readers("work.slice-1.fit")] == []
        assert len([*AddressedStateFiles(folder).readers("work.slice-10")]) == 2
        again.clear(None)
        assert again.is_empty()
        assert folder.names() == []


def test_workers_elsewhere_leave_states_at_an_address_they_reach(tmp_path: Path) -> None:
    """A folder may be another one on another machine; the run's journal tells."""
    journal = journal_path(tmp_path / "rec.h5")
    journal.write_bytes(b"of this run")
    name = uuid.uuid4().hex
    kinds = {}
    for seen in (True, False):
        for address in (None, tmp_path / "kept", f"file://{tmp_path}/kept", f"memory://{name}"):
            journal.write_bytes(b"of this run")
            text = None if address is None else str(address)
            place = state_place(tmp_path / "rec.h5", {"seed": 0}, text)
            if not seen:
                journal.write_bytes(b"of another run")
            found = unpacked(packed(place, "a place")).checkpoint()
            kinds.setdefault(seen, []).append(isinstance(found, FileCheckpoint))
    assert kinds == {True: [True, True, True, True], False: [False, False, False, True]}
    unknown = state_place(tmp_path / "rec.h5", {"seed": 0}, f"nowhere://{name}")
    assert isinstance(unknown.checkpoint(), Forgetful)
