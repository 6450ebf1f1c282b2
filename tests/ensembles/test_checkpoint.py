"""Fits that were interrupted go on bit for bit; checkpoints that do not belong are refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, deep_ensemble, early_stopping, ntkgp_param, sgd
from ensembles.checkpoint import checkpoint_at, digest
from ensembles.fit import FittedMembers, fit_members
from ensembles.losses import SquaredError
from ensembles.preparation import prepared
from ensembles.progress import Progress
from ensembles.trainers.member_size import member_size

X = torch.randn(12, 2, dtype=torch.float64, generator=seeded_generator(1))
Y = X.sum(1, keepdim=True).sin()
TRAINERS = {
    "adam": adam(steps=20, batch_size=5),
    "sgd": sgd(learning_rate=0.05, steps=20),
    "held out": adam(steps=20, early_stopping=early_stopping(every=3, patience=99)),
}
each_trainer = pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS.keys())


class InterruptionError(Exception):
    """What the tests interrupt fits with."""


def _network(width: int = 8) -> nn.Module:
    return mlp(in_features=2, out_features=1, width=width, depth=2, activation=Erf()).double()


def _fit(**changes: Any) -> FittedMembers:
    settings: dict[str, Any] = {
        "network": _network(), "x": X, "y": Y, "method": ntkgp_param(), "trainer": adam(steps=20),
        "n_members": 5, "loss": SquaredError(noise_std=torch.tensor([0.2])), "seed": 1,
    }  # fmt: skip
    settings |= changes
    network, method = settings["network"], settings["method"]
    size = member_size(prepared(network, method, X), method, X, 1)
    each = settings["trainer"].bytes_per_member(size)
    return fit_members(**{"memory_budget": 2 * each, **settings})


def _interrupt_at(member: int, step: int) -> Any:
    def callback(progress: Progress) -> None:
        if member in progress.members and progress.step == step:
            raise InterruptionError

    return callback


def _same(found: FittedMembers, expected: FittedMembers) -> None:
    assert found.members == expected.members
    assert found.converged == expected.converged
    assert found.n_steps == expected.n_steps
    for name, value in expected.params.items():
        assert torch.equal(found.params[name], value)
    for kind, params in expected.shift.items():
        for name, value in params.items():
            assert torch.equal(found.shift[kind][name], value)


@each_trainer
@pytest.mark.parametrize("place", [(0, 11), (2, 1), (4, 20)], ids=str)
def test_an_interrupted_fit_goes_on_bit_for_bit(
    trainer: Any, place: tuple[int, int], tmp_path: Path
) -> None:
    expected = _fit(trainer=trainer)
    where = checkpoint_at(tmp_path / "fit", seconds=1e-9)
    with pytest.raises(InterruptionError):
        _fit(trainer=trainer, checkpoint=where, callback=_interrupt_at(*place))
    told: list[Progress] = []
    _same(_fit(trainer=trainer, checkpoint=where, callback=told.append), expected)
    if told:  # it goes on where it was left, not before
        first = place[0] // 2 * 2
        assert (told[0].members[0], told[0].step) >= (first, 2)


def test_a_finished_fit_is_read(tmp_path: Path) -> None:
    expected = _fit(checkpoint=tmp_path)
    told: list[Progress] = []
    _same(_fit(checkpoint=tmp_path, callback=told.append), expected)
    assert told == []


def test_a_fit_that_was_killed_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Kill −9 at any time, also while a file is written, loses a few steps at most."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        import torch
        from tests.ensembles.test_checkpoint import _fit
        from ensembles import adam
        from ensembles.checkpoint import checkpoint_at
        torch.set_num_threads(1)
        print("ready", flush=True)
        _fit(trainer=adam(steps=400), checkpoint=checkpoint_at(sys.argv[1], seconds=1e-9))
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "fit")]
    trainer = adam(steps=400)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (tmp_path / "fit" / "training.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    told: list[int] = []
    found = _fit(
        trainer=trainer, checkpoint=tmp_path / "fit", callback=lambda p: told.append(p.step)
    )
    assert told[0] > 1
    _same(found, _fit(trainer=trainer))


@pytest.fixture(autouse=True)
def _every_step_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long saving takes on a busy machine, which would put off the next time."""
    monkeypatch.setattr("ensembles.checkpoint.SHARE", 1e9)


OTHER = {
    "network": {"network": _network(width=9)},
    "X": {"x": X + 1},
    "y": {"y": Y + 1},
    "sample weights": {"row_weight": torch.ones(12, dtype=torch.float64)},
    "method": {"method": deep_ensemble()},
    "trainer": {"trainer": adam(steps=21)},
    "loss": {"loss": SquaredError(noise_std=torch.tensor([0.3]))},
    "number of members": {"n_members": 6},
    "seed": {"seed": 2},
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("finished", [True, False])
def test_a_checkpoint_of_another_fit_is_refused_by_name(
    name: str, finished: bool, tmp_path: Path
) -> None:
    where = checkpoint_at(tmp_path, seconds=1e-9)
    if finished:
        _fit(checkpoint=where)
    else:
        with pytest.raises(InterruptionError):
            _fit(checkpoint=where, callback=_interrupt_at(0, 5))
    with pytest.raises(ValueError, match=f"belongs to a fit with other {name}; delete"):
        _fit(checkpoint=where, **OTHER[name])


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "header"])
@pytest.mark.parametrize("pattern", ["members-0-1.safetensors", "training.safetensors"])
def test_a_damaged_checkpoint_is_refused_by_name(pattern: str, damage: str, tmp_path: Path) -> None:
    where = checkpoint_at(tmp_path, seconds=1e-9)
    with pytest.raises(InterruptionError):
        _fit(checkpoint=where, callback=_interrupt_at(2, 5))
    path = tmp_path / pattern
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "empty":
        raw = bytearray()
    elif damage == "bit":
        raw[-20] ^= 4
    else:
        at = raw.index(b'members\\": [') + len(b'members\\": [')
        raw[at] = ord("7")
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"checkpoint: .*{pattern}.*delete .* to start anew"):
        _fit(checkpoint=where)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="cannot be made a folder"):
        _fit(checkpoint=path)


def test_digests_tell_settings_apart_and_repeat() -> None:
    def schedule(progress: float) -> float:
        return progress

    values = [
        torch.zeros(3), torch.zeros(3).double(), torch.zeros(1, 3), -torch.zeros(3), None, 0, False,
        "0", [0], {"a": 0}, {"b": 0}, adam(), adam(schedule=schedule), adam(steps=1),
        sgd(learning_rate=1.0), ntkgp_param(), deep_ensemble(), torch.float32,
    ]  # fmt: skip
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digest(adam(schedule=schedule)) == digest(adam(schedule=schedule))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
