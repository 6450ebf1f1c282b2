"""File to file: whatever interrupts it, finished slices are kept and the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ct.data.simulation import SimulateConfig, simulate_file
from ct.parts import Parts
from ct.reconstruct_config import ReconstructConfig
from ct.workflow import Interrupted, choose_device, parse_slices, reconstruct_file

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
    def progress(share: float) -> None:
        if share > n_slices / total + 1e-9:
            raise KeyboardInterrupt

    return progress


def test_interrupted_and_resumed_is_bit_for_bit_the_same(stack: Path, tmp_path: Path) -> None:
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    with pytest.raises(Interrupted, match="2 of 4 slices are kept"):
        reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=interrupt_after(2, 4))
    assert not (tmp_path / "rec.h5").exists()
    assert Parts(output=tmp_path / "rec.h5").finished() == {0, 1}
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
    assert Parts(output=tmp_path / "rec.h5").finished() == {0}


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
    long_stack: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    output = tmp_path / "rec.h5"
    process = subprocess.Popen(
        [sys.executable, "-m", "ct", "reconstruct", str(long_stack), "-o", str(output), *FBP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    parts = Parts(output=output)
    deadline = time.monotonic() + 60
    while len(parts.finished()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal_number)
    _, complaint = process.communicate(timeout=60)
    assert not output.exists(), "the work was done before the signal came"
    assert parts.finished(), complaint
    if signal_number == signal.SIGINT:
        assert process.returncode == 130
        assert len(complaint.splitlines()) == 1
        assert "say --resume" in complaint
    kept = len(parts.finished())
    assert 3 <= kept < N_LONG
    assert reconstruct_file(fbp_config(long_stack, output, resume=True)).resumed == kept
    assert_same_result(long_stack.with_name("whole.h5"), output)
    assert [path.name for path in tmp_path.iterdir()] == ["rec.h5"]


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
    shares: list[float] = []
    reconstruct_file(config(stack, tmp_path / "rec.h5"), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
