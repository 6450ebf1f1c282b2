"""Members trained by workers are those that one process trains."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from bayesnn.executors import Executor, local_executor, serial_executor
from bayesnn.executors.local import KeptWorkers
from ensembles import EnsembleRegressor, adam, gauss_newton, sgd
from ensembles.checkpoint import checkpoint_at
from ensembles.progress import Progress
from ensembles.trainers.member_size import MemberSize
from ensembles.trainers.monitor import Monitor
from ensembles.trainers.problem import Trained, Trainer, TrainingProblem
from tests.ensembles.executor_cases import (
    N_MEMBERS,
    ManyHands,
    assert_same,
    classifier,
    data,
    regressor,
)

X, Y = data()


@pytest.fixture(scope="module")
def workers() -> Iterator[KeptWorkers]:
    """Two workers for all tests: starting them takes seconds."""
    with local_executor(2, threads=1, silence=60.0).kept() as kept:
        yield kept


@dataclass(frozen=True, kw_only=True)
class CountedTrainer:
    """Another trainer, and whom it has trained to the end."""

    inner: Trainer
    trained: ClassVar[list[tuple[int, int]]] = []  # no setting: it does not tell fits apart

    @property
    def memory_budget(self) -> int | None:
        return self.inner.memory_budget

    def bytes_per_member(self, size: MemberSize) -> int:
        return self.inner.bytes_per_member(size)

    def train(
        self, problem: TrainingProblem, *, seed: int, monitor: Monitor | None = None
    ) -> Trained:
        trained = self.inner.train(problem, seed=seed, monitor=monitor)
        first = monitor._numbers.start  # type: ignore[union-attr]
        self.trained.append((first, first + len(trained.converged)))
        return trained


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_regressor_is_the_same(workers: KeptWorkers, dtype: type) -> None:
    x, y = X.astype(dtype), Y.astype(dtype)
    wanted = regressor().fit(x, y)
    found = regressor(executor=workers).fit(x, y)
    assert_same(found, wanted, relative=1e-10 if dtype is np.float64 else 1e-4)


def test_a_classifier_and_its_temperature_are_the_same(workers: KeptWorkers) -> None:
    wanted = classifier().fit(X, Y > 0)
    found = classifier(executor=workers).fit(X, Y > 0)
    assert_same(found, wanted)
    assert found.temperature_fitted_
    assert found.temperature_ == pytest.approx(wanted.temperature_, rel=1e-8)
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), rtol=1e-8)


@pytest.mark.parametrize(
    "trainer",
    [adam(steps=30, batch_size=7), sgd(steps=30, learning_rate=1e-3), gauss_newton()],
    ids=["adam", "sgd", "gauss-newton"],
)
@pytest.mark.parametrize("n_pieces", [2, 9])
def test_pieces_change_rounding_alone(trainer: Trainer, n_pieces: int) -> None:
    wanted = regressor(trainer=trainer).fit(X, Y)
    found = regressor(trainer=trainer, executor=ManyHands(n_pieces, backwards=True)).fit(X, Y)
    assert_same(found, wanted)


@pytest.mark.parametrize(
    "trainer",
    [adam(steps=60, batch_size=20), adam(steps=40, batch_size=61), gauss_newton()],
    ids=["adam", "adam, all rows", "gauss-newton"],
)
def test_members_are_the_same_bits_in_any_piece(trainer: Trainer) -> None:
    """Training amplifies rounding: hundreds of steps make another member of another last bit."""
    x, y = data(61)
    wanted = regressor(trainer=trainer).fit(x, y)
    for n_pieces in (2, N_MEMBERS):
        found = regressor(trainer=trainer, executor=ManyHands(n_pieces)).fit(x, y)
        assert_same(found, wanted, relative=0.0)


def test_a_lone_members_progress_is_its_own() -> None:
    heard: list[Progress] = []
    regressor(executor=ManyHands(N_MEMBERS)).fit(X, Y, callback=heard.append)
    assert {progress.members for progress in heard} == {(0,), (1,), (2,), (3,), (4,)}
    assert all(progress.losses.shape == (1,) for progress in heard)


def test_members_keep_to_the_memory_budget() -> None:
    sizes: set[int] = set()
    model = regressor(memory_budget=1, executor=ManyHands(2))
    model.fit(X, Y, callback=lambda progress: sizes.add(len(progress.members)))
    assert sizes == {1}
    assert_same(model, regressor().fit(X, Y))


def test_progress_of_all_members_is_heard(workers: KeptWorkers) -> None:
    heard: list[Progress] = []
    regressor(executor=workers).fit(X, Y, callback=heard.append)
    assert {progress.members for progress in heard} == {(0, 1, 2), (3, 4)}
    assert all(progress.n_members == N_MEMBERS for progress in heard)
    assert all(progress.total == 40 for progress in heard)
    assert all(progress.losses.shape == (len(progress.members),) for progress in heard)


def test_a_callback_stops_the_members_that_it_was_told_of() -> None:
    def stop(progress: Progress) -> bool:
        return 3 in progress.members and progress.step == 2

    stopped = regressor(executor=ManyHands(5)).fit(X, Y, callback=stop)
    whole = regressor().fit(X, Y)
    for name, value in stopped.params_.items():
        for member in range(N_MEMBERS):
            same = torch.allclose(value[member], whole.params_[name][member], rtol=1e-9)
            assert same == (member != 3), (name, member)


def test_a_callback_stops_members_elsewhere(workers: KeptWorkers) -> None:
    model = regressor(trainer=adam(steps=5000, batch_size=20), executor=workers)
    assert model.fit(X, Y, callback=lambda _: True).n_iter_ < 5000


@pytest.mark.parametrize("n_members", [5, 7])
def test_a_fit_goes_on_from_the_last(n_members: int) -> None:
    models = [
        regressor(n_members=n, warm_start=True, executor=executor).fit(X, Y)
        for executor in (None, ManyHands(2))
        for n in [min(n_members, 5)]
    ]
    for model in models:
        model.set_params(n_members=n_members).fit(X, Y)
    assert models[1].members_ == tuple(range(n_members))
    assert_same(models[1], models[0])


def test_members_that_diverge_are_named_all_the_same(workers: KeptWorkers) -> None:
    wild = {"trainer": sgd(steps=60, learning_rate=1e6)}
    with pytest.raises(FloatingPointError, match="every member diverged"):
        regressor(**wild, executor=workers).fit(X, Y)


def test_warnings_of_workers_are_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Trainer, *arguments: object, **named: object) -> object:
        problem = arguments[0]
        if len(problem.targets) > 1:  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("planted")
        return original(self, *arguments, **named)

    x, y = X.astype(np.float32), Y.astype(np.float32)  # in float64 none trains alone
    trainer = adam(steps=3, batch_size=20)
    original = type(trainer).train
    monkeypatch.setattr(type(trainer), "train", train)
    with pytest.warns(RuntimeWarning, match="members at once do not fit the memory"):
        found = regressor(trainer=trainer, executor=ManyHands(2)).fit(x, y)
    monkeypatch.undo()
    assert_same(found, regressor(trainer=trainer).fit(x, y), relative=1e-5)


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(workers: KeptWorkers) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        if progress.step > 1 and not killed:
            killed.extend(workers.pids)
            for pid in killed:  # all of them at once
                os.kill(pid, signal.SIGKILL)

    long = {"trainer": adam(steps=600, batch_size=20)}
    found = regressor(**long, executor=workers).fit(X, Y, callback=kill)
    assert len(killed) == 2
    # of the same pieces: rounding that differs would grow over so many steps
    assert_same(found, regressor(**long, executor=ManyHands(2)).fit(X, Y), relative=0.0)


def test_ctrl_c_cancels_and_leaves_the_workers_usable(workers: KeptWorkers) -> None:
    def press(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        regressor(trainer=adam(steps=5000), executor=workers).fit(X, Y, callback=press)
    assert_same(regressor(executor=workers).fit(X, Y), regressor().fit(X, Y))


@pytest.mark.parametrize("then", [None, ManyHands(2), ManyHands(5)], ids=["here", "two", "five"])
def test_an_interrupted_fit_goes_on_with_another_executor(
    tmp_path: Path, then: Executor | None
) -> None:
    trainer = CountedTrainer(inner=adam(steps=12, batch_size=20))
    trainer.trained.clear()

    def press(progress: Progress) -> None:
        if progress.members[0] == 3 and progress.step == 7:
            raise KeyboardInterrupt

    kept = checkpoint_at(tmp_path / "fit", seconds=1e-9)
    with pytest.raises(KeyboardInterrupt):
        regressor(trainer=trainer, executor=ManyHands(2)).fit(X, Y, callback=press, checkpoint=kept)
    assert sorted(trainer.trained) == [(0, 3)]
    found = regressor(trainer=trainer, executor=then).fit(X, Y, checkpoint=kept)
    assert sorted(trainer.trained) == [(0, 3), (3, 5)]  # and nothing twice
    whole = regressor(trainer=trainer.inner, executor=ManyHands(2)).fit(X, Y)
    assert_same(found, whole, relative=0.0)


def test_states_come_from_workers_and_go_with_items_that_are_tried_again(
    workers: KeptWorkers, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        kept_states = list((tmp_path / "fit").glob("training-*"))
        if len({path.name[:12] for path in kept_states}) == 2 and not killed:
            killed.extend(workers.pids)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    long = {"trainer": adam(steps=500, batch_size=20)}
    found = regressor(**long, executor=workers).fit(
        X, Y, callback=kill, checkpoint=checkpoint_at(tmp_path / "fit", seconds=0.05)
    )
    assert killed
    names = sorted(path.name for path in (tmp_path / "fit").glob("[!.]*"))
    assert names == ["members-0-2.safetensors", "members-3-4.safetensors"]
    assert_same(found, regressor(**long, executor=ManyHands(2)).fit(X, Y), relative=0.0)


def test_scikit_learn_copies_estimators_with_executors(workers: KeptWorkers) -> None:
    for executor in (local_executor(2), serial_executor(), workers):
        model = regressor(executor=executor)
        copied = clone(model)
        assert copied.get_params()["executor"] == executor
        assert copied.set_params(executor=None).executor is None
    scores = cross_val_score(regressor(executor=workers), X, Y, cv=2)
    np.testing.assert_allclose(scores, cross_val_score(regressor(), X, Y, cv=2), rtol=1e-9)


def test_a_saved_ensemble_has_no_executor(tmp_path: Path) -> None:
    model = regressor(executor=serial_executor()).fit(X, Y)
    model.save(tmp_path / "model")
    loaded = EnsembleRegressor.load(tmp_path / "model")
    assert loaded.executor is None
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(ValueError, match="executor: expected"):
        regressor(executor="ray").fit(X, Y)


def test_executors_here_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor(executor=serial_executor()).fit(X, Y)
    assert isinstance(serial_executor(), Executor)


@pytest.mark.parametrize("missing", ["members-0-2", "members-3-4"])
def test_members_that_are_missing_are_trained_in_the_pieces_they_were_in(
    missing: str, tmp_path: Path
) -> None:
    model = regressor(executor=ManyHands(2))
    expected = clone(model).fit(X, Y, checkpoint=tmp_path)
    (tmp_path / f"{missing}.safetensors").unlink()
    assert_same(clone(model).fit(X, Y, checkpoint=tmp_path), expected, relative=0.0)
