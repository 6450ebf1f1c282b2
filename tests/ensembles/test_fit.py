"""Fits that are watched, stopped, short of memory, or spoilt by one member."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, ntkgp_param
from ensembles.fit import fit_members
from ensembles.gathered import FittedMembers
from ensembles.losses import SquaredError
from ensembles.preparation import prepared
from ensembles.progress import Progress, progress_bar
from ensembles.trainers.member_size import MemberSize, member_size
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, Trainer, TrainingProblem

SEED = 1
LOSS = SquaredError(noise_std=torch.tensor([0.2], dtype=torch.float64))
X = torch.randn(12, 2, dtype=torch.float64, generator=seeded_generator(1))
Y = X.sum(1, keepdim=True).sin()


def _network() -> nn.Module:
    return mlp(in_features=2, out_features=1, width=8, depth=2, activation=Erf()).double()


def _fit(trainer: Trainer, n_members: int = 5, y: Tensor = Y, **settings: object) -> FittedMembers:
    return fit_members(
        _network(), X, y, method=ntkgp_param(), trainer=trainer, n_members=n_members, loss=LOSS,
        seed=SEED, **settings,  # type: ignore[arg-type]
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Crowded:
    """A trainer whose memory holds a few members only."""

    room: int
    seen: list[int]
    memory_budget: int | None = None

    def bytes_per_member(self, size: MemberSize) -> int:
        return 1

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        members = problem.targets.shape[0]
        self.seen.append(members)
        if members > self.room:
            raise torch.OutOfMemoryError("no room")
        return adam(steps=10).train(problem, seed=seed, monitor=monitor)


@dataclass(frozen=True, kw_only=True)
class Spoiling:
    """A trainer that spoils one member of each chunk of more than one."""

    memory_budget: int | None = None

    def bytes_per_member(self, size: MemberSize) -> int:
        return 1

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        problem.targets[1] = torch.nan
        return adam(steps=10).train(problem, seed=seed, monitor=monitor)


def test_a_callback_hears_of_every_step_of_every_member() -> None:
    told: list[Progress] = []
    trainer = adam(steps=4)
    each = trainer.bytes_per_member(
        member_size(prepared(_network(), ntkgp_param(), X), ntkgp_param(), X, 1)
    )
    _fit(trainer, callback=told.append, memory_budget=2 * each)
    assert [progress.step for progress in told] == [1, 2, 3, 4] * 3
    chunks = [told[i].members for i in (0, 4, 8)]
    assert chunks == [(0, 1), (2, 3), (4,)]
    assert all(p.total == 4 and p.n_members == 5 for p in told)
    assert all(len(p.losses) == len(p.members) for p in told)


def test_a_callback_stops_the_members_it_was_told_of() -> None:
    trainer = adam(steps=50)
    fitted = _fit(trainer, callback=lambda progress: progress.step == 7)
    assert fitted.n_steps == 7
    assert fitted.members == (0, 1, 2, 3, 4)


def test_chunks_change_rounding_alone() -> None:
    whole = _fit(adam(steps=30))
    parts = _fit(adam(steps=30), memory_budget=1)
    for name, value in whole.params.items():
        torch.testing.assert_close(parts.params[name], value, rtol=1e-10, atol=1e-12)


def test_chunks_that_do_not_fit_are_halved_and_that_is_said_once() -> None:
    trainer = Crowded(room=2, seen=[])
    with pytest.warns(RuntimeWarning, match="9 members at once do not fit") as caught:
        fitted = _fit(trainer, n_members=9)
    assert len(caught) == 1
    assert trainer.seen == [9, 4, 2, 2, 2, 2, 2]  # the last one beside a copy
    expected = _fit(adam(steps=10), n_members=9)
    assert fitted.members == expected.members
    for name, value in expected.params.items():
        torch.testing.assert_close(fitted.params[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.gpu
def test_a_gpu_that_runs_out_of_memory_gets_smaller_chunks() -> None:
    """Whether it is full at the first step or while a graph is captured."""
    device = torch.device("cuda")
    network = mlp(in_features=2, out_features=1, width=512, depth=2, activation=Erf()).to(device)
    x, y = X.float().to(device), Y.float().to(device)

    def fit() -> FittedMembers:
        return fit_members(
            network, x, y, method=ntkgp_param(), trainer=adam(steps=8), n_members=64,
            loss=LOSS, seed=SEED, memory_budget=2**33,
        )  # fmt: skip

    expected = {name: value.cpu() for name, value in fit().params.items()}
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    room = torch.cuda.memory_reserved() + 450 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / total)
    try:
        with pytest.warns(RuntimeWarning, match="do not fit the memory"):
            found = fit()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for name, value in expected.items():
        torch.testing.assert_close(found.params[name].cpu(), value, rtol=1e-4, atol=1e-4)


def test_a_member_that_does_not_fit_alone_is_an_error() -> None:
    with (
        pytest.warns(RuntimeWarning, match="do not fit"),
        pytest.raises(torch.OutOfMemoryError, match="no room") as caught,
    ):
        _fit(Crowded(room=0, seen=[]))
    assert any("One member alone" in note for note in caught.value.__notes__)


def test_members_that_diverge_are_named_and_left_out() -> None:
    expected = _fit(adam(steps=10))
    with pytest.warns(RuntimeWarning, match=r"members \[1\] of 5 diverged"):
        fitted = _fit(Spoiling())
    assert fitted.members == (0, 2, 3, 4)
    for name, value in expected.params.items():
        torch.testing.assert_close(fitted.params[name], value[[0, 2, 3, 4]], rtol=1e-9, atol=1e-12)


def test_it_is_an_error_if_all_members_diverge() -> None:
    with pytest.raises(FloatingPointError, match="every member diverged"):
        _fit(adam(steps=3), y=Y * torch.inf)


def test_the_bar_is_drawn_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fit(adam(steps=3), verbose=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == ""
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(shown=True, n_members=8, first=2) as draw:
        losses = torch.tensor([0.5, 1.5])
        draw(Progress(members=(4, 5), n_members=8, step=10, total=20, losses=losses))
        draw.finished(range(2, 4))
        answer = draw(Progress(members=(4, 5), n_members=8, step=20, total=20, losses=losses))
    assert answer is None
    assert "members 4–5" in screen.getvalue()
    assert "75%" in screen.getvalue()
