"""Executors as the command line names them, fitted to the device."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from bayesnn.executors import LocalExecutor
from ct.cli import run
from ct.executor_choice import choose_executor
from tests.ct.workflow_runs import assert_same_result


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)


@pytest.mark.parametrize(
    ("text", "device", "devices"),
    [
        ("local:3", "cpu", ("cpu", "cpu", "cpu")),
        ("local", "auto", ("cuda:0", "cuda:1")),
        ("local:3", "auto", ("cuda:0", "cuda:1", "cuda:0")),
        ("local:2", "cuda", ("cuda:0", "cuda:1")),
        ("local:2", "cuda:1", ("cuda:1", "cuda:1")),
        ("local:cuda:1", "auto", ("cuda:1",)),
        ("local:cuda:0,cuda:1", "cuda", ("cuda:0", "cuda:1")),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_local_workers_are_on_the_device_that_was_asked_for(
    text: str, device: str, devices: tuple[str, ...]
) -> None:
    executor, where = choose_executor(text, device)
    assert isinstance(executor, LocalExecutor)
    assert executor.devices == devices
    assert where.partition(":")[0] == devices[0].partition(":")[0] == executor.device_type


@pytest.mark.parametrize(
    ("text", "device", "said"),
    [
        ("local:0", "cpu", "^--executor: expected .* got 'local:0'"),
        ("local:", "cpu", "--executor: .*'local:'"),
        ("locale", "cpu", "--executor: .*'locale'"),
        ("slurm", "auto", "--executor: .*'slurm'"),
        ("ray://", "cpu", "--executor: .*'ray://'"),
        ("local:cuda:7", "auto", "--executor: .*cuda:7 is not here"),
        ("local:cuda:0", "cpu", "--executor: local:cuda:0 names devices; leave --device cpu out"),
        ("local:2", "gpu", "--device: expected auto, cpu"),
        ("ray", "cuda:x", "--device: expected auto, cpu or cuda with Ray, got 'cuda:x'"),
        ("ray", "cuda:1", "--device: expected auto, cpu or cuda with Ray, got 'cuda:1'"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, device: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        choose_executor(text, device)


@pytest.mark.parametrize("executor", ["serial", pytest.param("local:2", marks=pytest.mark.slow)])
def test_the_command_line_hands_slices_to_an_executor(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], executor: str
) -> None:
    """With the configuration that `rec.h5` was made with."""
    command = f"reconstruct {folder}/sino.h5 --config {folder}/tiny.json"
    assert run([*command.split(), "-o", f"{tmp_path}/a.h5", "--executor", executor]) == 0
    assert_same_result(folder / "rec.h5", tmp_path / "a.h5")
    assert run([*command.split(), "-o", f"{tmp_path}/b.h5", "--executor", "nowhere"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "--executor: " in said
    assert "'nowhere'" in said
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.isfinite(file["std"][()]).all()
