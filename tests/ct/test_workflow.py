"""File to file: whatever interrupts it, finished slices are kept and the result is the same."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ct.classical.filtered_backprojection import fbp
from ct.data.measured import Measured
from ct.data.scan_input import ScanInput
from ct.data.simulation import SimulateConfig, simulate_file
from ct.partial_result import journal_path
from ct.posterior.mc_dropout import MCDropout
from ct.problem import Estimate, Problem, Progress, Setting
from ct.projectors.operator import projector
from ct.reconstruct_config import ReconstructConfig
from ct.result import Reconstruction
from ct.run_options import choose_device, parse_slices
from ct.workflow import Interrupted, reconstruct_file

N_LONG = 40
FBP = ("--method", "fbp", "--device", "cpu")
TINY = {
    "steps": 3,
    "centre_steps": 2,
    "n_samples": 2,
    "network.finest": 16,
    "network.channels": 2,
    "network.width": 4,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack")
    np.save(folder / "image.npy", np.random.default_rng(0).uniform(1, 2, size=(4, 16, 16)))
    simulate_file(SimulateConfig(image=folder / "image.npy", output=folder / "sino.h5", views=12))
    return folder / "sino.h5"


def contents(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: data[()] for name, data in file.items()}


def assert_same_result(a: Path, b: Path) -> None:
    first, second = contents(a), contents(b)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def finished(output: Path) -> list[int]:
    """Return the chunks on record, as another process sees them."""
    if not journal_path(output).exists():
        return []
    whole = journal_path(output).read_bytes().rpartition(b"\n")[0]
    return [json.loads(line)["chunk"] for line in whole.splitlines()[1:]]


def config(stack: Path, output: Path, **changes: object) -> ReconstructConfig:
    return ReconstructConfig(**{
        "sinogram": stack,
        "output": output,
        "method": "mc-dropout",
        "settings": TINY,
        "device": "cpu",
        **changes,
    })


def interrupt_after(n_slices: int, total: int) -> object:
    def progress(done: float, n: float) -> None:
        assert n == total
        if done > n_slices + 1e-9:
            raise KeyboardInterrupt

    return progress


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


def test_a_slice_is_the_same_alone_and_in_its_stack(stack: Path, tmp_path: Path) -> None:
    reconstruct_file(config(stack, tmp_path / "all.h5"))
    summary = reconstruct_file(config(stack, tmp_path / "some.h5", slices="1:3"))
    assert summary.slices == (1, 2)
    whole, some = contents(tmp_path / "all.h5"), contents(tmp_path / "some.h5")
    for name in ("mean", "std"):
        assert some[name].shape == (2, 16, 16)
        np.testing.assert_array_equal(some[name], whole[name][1:3])
    assert not np.array_equal(whole["std"][0], whole["std"][1])


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


def test_nothing_is_left_where_nothing_was_finished(stack: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=interrupt_after(0, 4))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_result_stays_until_the_new_one_is_whole(stack: Path, tmp_path: Path) -> None:
    output = tmp_path / "rec.h5"
    output.write_bytes(b"earlier")
    with pytest.raises(KeyboardInterrupt):
        reconstruct_file(config(stack, output), progress=interrupt_after(2, 4))
    assert output.read_bytes() == b"earlier"


@pytest.fixture(scope="module")
def long_stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack whose work takes a process about two seconds, and its result."""
    folder = tmp_path_factory.mktemp("long")
    image = np.random.default_rng(0).uniform(1, 2, size=(N_LONG, 32, 32))
    np.save(folder / "image.npy", image)
    simulate_file(SimulateConfig(image=folder / "image.npy", output=folder / "sino.h5", views=60))
    reconstruct_file(fbp_config(folder / "sino.h5", folder / "whole.h5"))
    return folder / "sino.h5"


def fbp_config(sinogram: Path, output: Path, *, resume: bool = False) -> ReconstructConfig:
    return ReconstructConfig(
        sinogram=sinogram, output=output, method="fbp", device="cpu", resume=resume
    )


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_loses_at_most_the_slice_in_work(
    stack: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    slow = {**TINY, "steps": 120}
    (tmp_path / "slow.json").write_text(json.dumps({"settings": slow, "device": "cpu"}))
    output, folder = tmp_path / "out" / "rec.h5", tmp_path / "out"
    folder.mkdir()
    files = [str(stack), "-o", str(output), "--config", str(tmp_path / "slow.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "ct", "reconstruct", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while len(finished(output)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal_number)
    _, complaint = process.communicate(timeout=60)
    assert not output.exists(), "the work was done before the signal came"
    assert finished(output), complaint
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert len(complaint.splitlines()) == 1
        assert "say --resume" in complaint
    kept = len(finished(output))
    assert 2 <= kept < 4
    assert reconstruct_file(config(stack, output, settings=slow, resume=True)).resumed == kept
    reconstruct_file(config(stack, tmp_path / "whole.h5", settings=slow))
    assert_same_result(tmp_path / "whole.h5", output)
    assert [path.name for path in folder.iterdir()] == ["rec.h5"]


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
    most = 100_000  # bytes: not enough for the 40 slices
    done = subprocess.run(
        [sys.executable, "-m", "ct", "reconstruct", str(long_stack), "-o", "rec.h5", *FBP],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
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


@pytest.mark.parametrize("n_slices", [3, 7])
def test_chunks_of_slices_give_what_single_slices_give(
    long_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_slices: int
) -> None:
    budget = n_slices * 12 * 4 * (32 * 32 + 60 * 47)
    monkeypatch.setattr("ct.slices.MEMORY_BUDGET", budget)
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: _StackedFBP())
    output = tmp_path / "rec.h5"
    with pytest.raises(Interrupted, match=f"{2 * n_slices} of 40 slices are kept"):
        reconstruct_file(fbp_config(long_stack, output), progress=interrupt_after(2 * n_slices, 40))
    assert reconstruct_file(fbp_config(long_stack, output, resume=True)).resumed == 2 * n_slices
    whole = contents(long_stack.with_name("whole.h5"))
    np.testing.assert_allclose(contents(output)["mean"], whole["mean"], rtol=1e-5, atol=1e-5)
    assert Reconstruction.load(output).metadata["slices"] == list(range(40))


def test_the_projector_is_made_once(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        "ct.workflow.projector", lambda *where: made.append(where) or projector(*where)
    )
    reconstruct_file(config(stack, tmp_path / "rec.h5"))
    assert len(made) == 1


def test_noise_and_missing_rays_of_the_scan_reach_the_method(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, noises = ScanInput.read, []
    solve = MCDropout.solve
    known = np.full((12, 24), 0.5, dtype=np.float32)
    known[:, 3] = np.inf

    def with_noise(scan: ScanInput, index: int) -> Measured:
        return dataclasses.replace(read(scan, index), noise_std=known, n_missing=12)

    def remembered(method: MCDropout, problem: Problem, **how: object) -> Estimate:
        noises.append(problem.noise_std.numpy())
        return solve(method, problem, **how)

    monkeypatch.setattr(ScanInput, "read", with_noise)
    monkeypatch.setattr(MCDropout, "solve", remembered)
    for given, source in ((None, "measured"), (2.0, "given")):
        output = tmp_path / f"{source}.h5"
        summary = reconstruct_file(config(stack, output, slices="0:1", noise_std=given))
        expected = np.where(np.isinf(known), known, known if given is None else 2.0)
        np.testing.assert_array_equal(noises[-1], expected)
        metadata = Reconstruction.load(output).metadata
        assert metadata["noise_std_source"] == source
        assert metadata["noise_std"] == [given or 0.5]
        assert (summary.noise.median, summary.noise.source) == (given or 0.5, source)
        assert summary.missing_rays == 12


def test_a_simulated_files_noise_is_not_used_unasked(stack: Path, tmp_path: Path) -> None:
    with h5py.File(stack) as file:
        true_noise = float(file.attrs["noise_std"][0])
    reconstruct_file(config(stack, tmp_path / "a.h5", slices="0:1"))
    reconstruct_file(config(stack, tmp_path / "b.h5", slices="0:1", noise_std=true_noise))
    a, b = contents(tmp_path / "a.h5"), contents(tmp_path / "b.h5")
    assert not np.array_equal(a["mean"], b["mean"])


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [(None, 3, [0, 1, 2]), ("1:3", 3, [1, 2]), (":1", 3, [0]), ("2:", 3, [2]), (":", 2, [0, 1])],
)
def test_slices(text: str | None, n: int, expected: list[int]) -> None:
    assert parse_slices(text, n) == expected


@pytest.mark.parametrize("text", ["2:2", "0:4", "3:", "1", "a:b", "-1:2", "0:2:1"])
def test_slices_that_are_not_there(text: str) -> None:
    with pytest.raises(ValueError, match="--slices: expected a:b"):
        parse_slices(text, 3)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match="--device"):
            choose_device(name)


def test_progress_grows_to_one(stack: Path, tmp_path: Path) -> None:
    calls: list[tuple[float, float]] = []
    reconstruct_file(
        config(stack, tmp_path / "rec.h5"), progress=lambda done, n: calls.append((done, n))
    )
    assert calls == sorted(calls)
    assert calls[0] == (0, 4)
    assert calls[-1] == pytest.approx((4, 4))


class _StackedFBP:
    name = "fbp"
    n_samples = None

    def settings(self) -> dict[str, Setting]:
        return {}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        return fbp().solve(problem, seed=seed, progress=progress)

    def solve_slices(
        self, problems: Sequence[Problem], *, progress: Progress | None = None
    ) -> list[Estimate]:
        return [self.solve(problem, seed=0, progress=progress) for problem in problems]
