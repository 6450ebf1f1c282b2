"""Whatever interrupts a run, what it finished is kept and the result is the same."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest

from ct.partial_result import journal_path
from ct.result import Reconstruction
from ct.workflow import Interrupted, reconstruct_file
from tests.ct.workflow_runs import (
    TINY,
    Walk,
    assert_same_result,
    config,
    contents,
    fbp_config,
    finished,
    interrupt_after,
)


def test_interrupted_and_resumed_is_bit_for_bit_the_same(stack: Path, tmp_path: Path) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    with pytest.raises(Interrupted, match="2 of 4 slices are kept"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=interrupt_after(2, 4))
    assert not (tmp_path / "rec.h5").exists()
    assert finished(tmp_path / "rec.h5") == [0, 1]
    summary = reconstruct_file(config(stack, tmp_path / "rec.h5", resume=True))
    assert summary.resumed == 2
    assert_same_result(tmp_path / "whole.h5", tmp_path / "rec.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rec.h5", "whole.h5"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"settings": {**TINY, "steps": 4}}, "settings"),
        ({"noise_std": 2.0}, "noise_std"),
        ({"slices": "0:2"}, "slices"),
        ({"method": "fbp", "settings": {}}, "method, settings"),
    ],
)
def test_other_work_is_not_resumed(
    stack: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=interrupt_after(1, 4))
    with pytest.raises(ValueError, match=f"differed in {named};"):
        reconstruct_file(config(stack, tmp_path / "rec.h5", resume=True, **changes))
    with pytest.raises(ValueError, match="say --resume"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert finished(tmp_path / "rec.h5") == [0]


def test_a_whole_result_of_the_same_work_is_left_as_it_is(
    stack: Path, tmp_path: Path, walk: Walk
) -> None:
    output = tmp_path / "rec.h5"
    first = reconstruct_file(config(stack, output))
    before = (output.read_bytes(), output.stat().st_mtime_ns)
    walk.taken[0].clear()
    again = reconstruct_file(config(stack, output, resume=True, figure=tmp_path / "a.png"))
    assert walk.taken[0] == []
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before
    assert (tmp_path / "a.png").exists()
    assert not first.unchanged
    told = {"resumed": 4, "unchanged": True, "seconds": again.seconds}
    assert again == dataclasses.replace(first, **told)
    reconstruct_file(config(stack, output))  # without --resume it is made anew
    assert len(walk.taken[0]) == 4 * walk.steps


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"seed": 1}, "seed"), ({"remove_stripes": True, "slices": "0:2"}, "remove_stripes, slices")],
)
def test_a_whole_result_of_other_work_is_refused(
    stack: Path, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    output = tmp_path / "rec.h5"
    reconstruct_file(fbp_config(stack, output))
    before = output.read_bytes()
    with pytest.raises(ValueError, match=f"it is whole and differs in {named};"):
        reconstruct_file(fbp_config(stack, output, resume=True, **changes))
    shutil.copy(stack, tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r+") as file:
        file["sinogram"][0, 0, 0] += 1
    with pytest.raises(ValueError, match="differs in sinogram;"):
        reconstruct_file(fbp_config(tmp_path / "other.h5", output, resume=True))
    assert output.read_bytes() == before


def test_a_result_that_does_not_say_of_which_work_it_is_starts_anew(
    stack: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rec.h5"
    reconstruct_file(fbp_config(stack, output))
    Reconstruction.load(output).save(output)
    with pytest.warns(UserWarning, match="does not say of which work it is"):
        summary = reconstruct_file(fbp_config(stack, output, resume=True))
    assert (summary.resumed, summary.unchanged) == (0, False)


def test_slices_of_an_interrupted_run_come_before_an_older_result(
    stack: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rec.h5"
    reconstruct_file(fbp_config(stack, output, seed=1))
    with pytest.raises(Interrupted):
        reconstruct_file(config(stack, output), progress=interrupt_after(2, 4))
    summary = reconstruct_file(config(stack, output, resume=True))
    assert (summary.resumed, summary.unchanged) == (2, False)


def test_nothing_is_left_where_nothing_was_finished(stack: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=r"nothing is kept; start again\.$"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=interrupt_after(0, 4))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_stays_until_the_new_one_is_whole(stack: Path, tmp_path: Path) -> None:
    output = tmp_path / "rec.h5"
    reconstruct_file(fbp_config(stack, output))
    earlier = output.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        reconstruct_file(config(stack, output), progress=interrupt_after(2, 4))
    assert output.read_bytes() == earlier
    reconstruct_file(config(stack, output, resume=True))
    assert "std" in contents(output)


def test_training_goes_on_within_a_slice(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_every_step(monkeypatch)
    settings = {**TINY, "steps": 8, "held_out": 0.2}
    whole, output = tmp_path / "whole.h5", tmp_path / "rec.h5"
    reconstruct_file(config(stack, whole, settings=settings, slices="0:2"))
    with pytest.raises(Interrupted, match="1 of 2 slices are kept"):
        reconstruct_file(
            config(stack, output, settings=settings, slices="0:2"),
            progress=interrupt_after(1.6, 2),
        )
    assert any((tmp_path / ".rec.h5.state").iterdir())
    calls: list[float] = []
    reconstruct_file(
        config(stack, output, settings=settings, slices="0:2", resume=True),
        progress=lambda done, _: calls.append(done),
    )
    assert_same_result(whole, output)
    # no step of the fit without the held-out views is taken again: its samples come first
    assert min(done for done in calls if done > 1) > 1.3


SLOW_WALK = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
import ct.checkpoint_file, ct.cli, ct.workflow
from tests.ct.workflow_runs import Walk
ct.checkpoint_file.SECONDS_BETWEEN_SAVES, ct.checkpoint_file.SHARE = 0.1, 1e9
ct.workflow.choose_method = lambda *_: Walk(pause=0.02)
sys.exit(ct.cli.run(sys.argv[1:]))
"""


@pytest.fixture
def walk(monkeypatch: pytest.MonkeyPatch) -> Walk:
    """The method of all runs of a test, in place of the one that is named."""
    method = Walk(taken=([],))
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: method)
    save_every_step(monkeypatch)
    return method


def save_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ct.checkpoint_file.SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr("ct.checkpoint_file.SHARE", 1e9)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_loses_nothing_that_was_saved(
    stack: Path, tmp_path: Path, walk: Walk, signal_number: signal.Signals
) -> None:
    output, folder = tmp_path / "out" / "rec.h5", tmp_path / "out"
    folder.mkdir()
    files = ["reconstruct", str(stack), "-o", str(output), "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WALK, *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    state = folder / ".rec.h5.state" / "work.slice-2.walk.safetensors"
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal_number)
    _, complaint = process.communicate(timeout=60)
    assert finished(output) == [0, 1], complaint
    assert not output.exists()
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert len(complaint.splitlines()) == 1
        assert "2 of 4 slices are kept" in complaint
        assert "and the state of the next" in complaint
        assert "say --resume" in complaint
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 2
    first = walk.taken[0][0]
    assert 0 < first < 60  # in the middle of the third slice
    assert walk.taken[0] == [*range(first, 60), *range(60)]
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    assert_same_result(tmp_path / "whole.h5", output)
    assert [path.name for path in folder.iterdir()] == ["rec.h5"]


def test_the_state_of_the_first_slice_is_kept_too(stack: Path, tmp_path: Path, walk: Walk) -> None:
    output = tmp_path / "rec.h5"
    with pytest.raises(Interrupted, match=r"no slice is finished, but .*first is kept.*--resume"):
        reconstruct_file(config(stack, output), progress=interrupt_after(0.5, 4))
    with pytest.raises(ValueError, match="say --resume to go on with it, or delete"):
        reconstruct_file(config(stack, output))
    with pytest.raises(ValueError, match="differed in seed"):
        reconstruct_file(config(stack, output, resume=True, seed=1))
    walk.taken[0].clear()
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 0
    assert walk.taken[0][0] == 31
    assert [path.name for path in tmp_path.iterdir()] == ["rec.h5"]


def test_a_state_that_another_run_left_is_not_gone_on_from(
    stack: Path, tmp_path: Path, walk: Walk
) -> None:
    output = tmp_path / "rec.h5"
    with pytest.raises(Interrupted):
        reconstruct_file(config(stack, output, seed=1), progress=interrupt_after(0.5, 4))
    for name in (".rec.h5.journal", ".rec.h5.partial"):
        (tmp_path / name).unlink()  # as a user may do to start again
    walk.taken[0].clear()
    reconstruct_file(config(stack, output))
    assert walk.taken[0][0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rec.h5"]


def test_a_line_that_was_being_written_does_not_count(stack: Path, tmp_path: Path) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    output = tmp_path / "rec.h5"
    with pytest.raises(KeyboardInterrupt):
        reconstruct_file(config(stack, output), progress=interrupt_after(2, 4))
    content = journal_path(output).read_bytes()
    journal_path(output).write_bytes(content[:-20])
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 1
    assert_same_result(tmp_path / "whole.h5", output)


def test_a_process_that_ends_while_the_file_is_closed_loses_nothing(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    output = tmp_path / "rec.h5"

    def half_finished(path: Path, *_: object) -> None:
        with path.open("rb+") as file:
            file.write(b"\0" * 300)
            file.seek(0, os.SEEK_END)
            file.write(b"half an attribute")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ct.partial_result.finish_result", half_finished)
        with pytest.raises(Interrupted, match="4 of 4 slices are kept"):
            reconstruct_file(config(stack, output))
    assert not output.exists()
    assert reconstruct_file(config(stack, output, resume=True)).resumed == 4
    assert_same_result(tmp_path / "whole.h5", output)


def test_two_processes_do_not_write_the_same_result(stack: Path, tmp_path: Path) -> None:
    output = tmp_path / "rec.h5"

    def meanwhile(done: float, _: float) -> None:
        if done == 2:
            with pytest.raises(ValueError, match="another process is writing it"):
                reconstruct_file(config(stack, output, resume=True))

    reconstruct_file(config(stack, output), progress=meanwhile)
    assert contents(output)["mean"].shape == (4, 16, 16)
