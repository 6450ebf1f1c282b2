"""Slices as an executor's tasks: the same numbers, in whatever order they come."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import ct
from bayesnn.executors import Executor, WorkerLostError
from bayesnn.executors.sending import packed, unpacked
from ct.checkpoint import Forgetful
from ct.checkpoint_file import FileCheckpoint
from ct.data.scan_input import ScanInput
from ct.partial_result import journal_path
from ct.problem import Estimate, Method, Problem, Progress
from ct.state_place import state_place
from ct.workflow import Interrupted, reconstruct_file
from tests.contracts.test_ct_methods import GRID, SCAN, _sinogram, every_method
from tests.ct.scattered import ScatteredExecutor
from tests.ct.workflow_runs import Walk, assert_same_result, config, fbp_config, finished


def test_results_come_in_any_order_and_are_the_same_bit_for_bit(
    stack: Path, tmp_path: Path
) -> None:
    reconstruct_file(config(stack, tmp_path / "here.h5"))
    executor = ScatteredExecutor()
    assert isinstance(executor, Executor)
    calls: list[tuple[float, float]] = []
    summary = reconstruct_file(
        config(stack, tmp_path / "there.h5", executor=executor),
        progress=lambda done, n: calls.append((done, n)),
    )
    assert_same_result(tmp_path / "here.h5", tmp_path / "there.h5")
    with h5py.File(tmp_path / "here.h5") as here, h5py.File(tmp_path / "there.h5") as there:
        for name in here.attrs:
            assert np.array_equal(here.attrs[name], there.attrs[name]), name
    assert summary.slices == (0, 1, 2, 3)
    assert (calls[0], calls[-1]) == ((0, 4), (4, 4))
    assert calls == sorted(calls)
    assert any(done % 1 for done, _ in calls)  # of slices in work, too
    assert executor.asked[0].cpus == 1
    assert executor.asked[0].gpus is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.h5", "there.h5"]


@pytest.mark.parametrize("first_here", [True, False])
def test_a_run_goes_on_across_executors(stack: Path, tmp_path: Path, first_here: bool) -> None:
    output = tmp_path / "rec.h5"
    reconstruct_file(config(stack, tmp_path / "whole.h5"))
    first, then = (None, ScatteredExecutor()) if first_here else (ScatteredExecutor(), None)

    def stop(done: float, _: float) -> None:
        if len(finished(output)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 4 slices are kept"):
        reconstruct_file(config(stack, output, executor=first), progress=stop)
    if not first_here:
        assert finished(output) != [0, 1]  # it is of use that they may come in any order
    assert reconstruct_file(config(stack, output, executor=then, resume=True)).resumed == 2
    assert_same_result(tmp_path / "whole.h5", output)


def test_slices_are_read_when_a_worker_is_free_for_them(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, ahead = [], []
    of_file = ScanInput.read

    def counted(source: ScanInput, index: int) -> Any:
        read.append(index)
        ahead.append(len(read) - len(finished(tmp_path / "rec.h5")))
        return of_file(source, index)

    monkeypatch.setattr(ScanInput, "read", counted)
    reconstruct_file(config(stack, tmp_path / "rec.h5", executor=ScatteredExecutor(at_once=2)))
    assert read == [0, 0, 1, 2, 3]  # the first is looked at before work starts
    assert max(ahead) <= 3


@pytest.mark.parametrize("n_slices", [1, 3])
def test_chunks_of_slices_are_those_of_one_process(
    long_stack: Path, tmp_path: Path, n_slices: int
) -> None:
    budget = n_slices * 5 * 4 * (32 * 32 + 60 * 47)  # the five copies of filtered back-projection
    for name, executor in (("here.h5", None), ("there.h5", ScatteredExecutor())):
        reconstruct_file(
            fbp_config(
                long_stack, tmp_path / name, executor=executor, memory_budget=budget, mu_water=0.02
            )
        )
    assert_same_result(tmp_path / "here.h5", tmp_path / "there.h5")


@every_method
def test_every_method_can_travel(method: Method) -> None:
    there = unpacked(packed(method, "a method"))
    assert there.settings() == method.settings()
    assert type(there) is type(method)


@pytest.mark.filterwarnings("ignore:memory budget")
@pytest.mark.parametrize(
    ("method", "noise_std", "memory_budget"),
    [
        (ct.cgls(), None, 1),
        (ct.cgls(), 0.05, None),
        (ct.jackknife(mean=ct.cgls(iterations=5), n_folds=3, n_samples=3), None, None),
    ],
)
def test_slices_in_memory_are_the_same_bit_for_bit(
    method: Method, noise_std: float | None, memory_budget: int | None
) -> None:
    settings = {
        "method": method,
        "noise_std": noise_std,
        "first_slice": 5,
        "memory_budget": memory_budget,
    }
    calls: list[tuple[int, int]] = []
    here = ct.reconstruct(_sinogram(3), SCAN, GRID, **settings)
    there = ct.reconstruct(
        _sinogram(3),
        SCAN,
        GRID,
        executor=ScatteredExecutor(),
        progress=lambda done, n: calls.append((done, n)),
        **settings,
    )
    assert torch.equal(here.mean, there.mean)
    for name in ("std", "samples"):
        one, other = getattr(here, name), getattr(there, name)
        assert one is other is None or torch.equal(one, other)
    assert here.metadata == there.metadata
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]


@dataclasses.dataclass(frozen=True)
class WarningWalk(Walk):
    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        warnings.warn("a word of warning", UserWarning, stacklevel=2)
        return super().solve(problem, seed=seed, progress=progress)


def test_what_workers_warn_of_is_said_here_once(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ct.workflow.choose_method", lambda *_: WarningWalk(steps=2))
    with pytest.warns(UserWarning, match="a word of warning") as said:
        reconstruct_file(config(stack, tmp_path / "rec.h5", executor=ScatteredExecutor()))
    assert len(said) == 1


def test_workers_leave_states_where_they_see_the_journal_of_the_run(tmp_path: Path) -> None:
    output = tmp_path / "rec.h5"
    journal_path(output).write_bytes(b"a" * 64 + b" {}\n")
    place = unpacked(packed(state_place(output, {"seed": 0}), "a place"))
    assert isinstance(place.checkpoint(), FileCheckpoint)
    journal_path(output).write_bytes(b"b" * 64 + b" {}\n")  # of a folder of the same name elsewhere
    assert isinstance(place.checkpoint(), Forgetful)
    journal_path(output).unlink()
    assert isinstance(place.checkpoint(), Forgetful)


class _FailingExecutor(ScatteredExecutor):
    error: Exception

    def run(self, *words: Any, **options: Any) -> Generator[tuple[int, Any], None, None]:
        for count, one in enumerate(super().run(*words, **options)):
            if count == 2:
                raise self.error
            yield one


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WorkerLostError(2, 4, "it was killed by SIGKILL"), r"item 2 was tried 4 times.*SIGKILL"),
        (ConnectionError("there is no Ray at x:1"), r"--executor: there is no Ray at x:1"),
        (RuntimeError("executor: no machine of the Ray cluster had 9 CPU"), "no machine of the"),
    ],
)
def test_workers_that_are_gone_are_one_line_and_what_is_finished_is_kept(
    stack: Path, tmp_path: Path, error: Exception, said: str
) -> None:
    executor = _FailingExecutor()
    executor.error = error
    with pytest.raises(ValueError, match=said):
        reconstruct_file(config(stack, tmp_path / "rec.h5", executor=executor))
    assert len(finished(tmp_path / "rec.h5")) == 2
    assert reconstruct_file(config(stack, tmp_path / "rec.h5", resume=True)).resumed == 2


def test_a_device_of_another_kind_than_the_workers_is_refused(stack: Path, tmp_path: Path) -> None:
    executor = ScatteredExecutor(device_type="cuda")
    with pytest.raises(ValueError, match=r"--device: expected cuda, .* got cpu; leave it out"):
        reconstruct_file(config(stack, tmp_path / "rec.h5", executor=executor))
