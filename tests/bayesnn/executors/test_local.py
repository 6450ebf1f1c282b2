"""Processes of this machine as workers: what they give back, and what befalls them."""

from __future__ import annotations

import copy
import os
import pickle  # noqa: TID251  # users pickle estimators, and executors in them
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import torch

from bayesnn.executors import Executor, WorkerLostError, local_executor
from bayesnn.executors.local import KeptWorkers
from tests.bayesnn.executors import jobs

EXECUTOR = local_executor(2, threads=1, tries=3, silence=3.0)


@pytest.fixture(scope="module")
def workers() -> Iterator[KeptWorkers]:
    """Two workers for all tests: starting them takes seconds."""
    with EXECUTOR.kept() as kept:
        yield kept


def test_results_are_those_of_one_process_each_once(workers: KeptWorkers) -> None:
    results = list(workers.run(jobs.scaled_square, range(50), shared=10))
    assert sorted(results) == [(i, 10 * i**2) for i in range(50)]


def test_work_is_done_elsewhere_by_as_many_as_asked(workers: KeptWorkers) -> None:
    assert workers.n_workers() == 2
    # while one waits the other must take the next
    pids = set(dict(workers.run(jobs.own_process, range(20), shared=None)).values())
    assert os.getpid() not in pids
    assert len(pids) <= 2


def test_workers_have_their_device_and_threads(workers: KeptWorkers) -> None:
    [(_, found)] = workers.run(jobs.where, [0], shared=None)
    assert found == ("cpu", 1)


def test_nothing_to_do_is_done(workers: KeptWorkers) -> None:
    assert list(workers.run(jobs.scaled_square, [], shared=10)) == []


def test_what_work_says_is_heard_and_may_stop_its_item_alone(workers: KeptWorkers) -> None:
    heard = []

    def hear(number: int, message: object) -> bool:
        heard.append((number, message))
        return number == 1

    results = dict(workers.run(jobs.slow_but_alive, [7, 8], shared=0.3, heard=hear))
    assert results == {0: 7, 1: 8}
    assert {number for number, _ in heard} == {0, 1}
    # ten million counts end within the test because they are stopped
    stopped = dict(workers.run(jobs.counting, [5], shared=10**8, heard=lambda *_: True))
    assert 0 < stopped[0] < 10**8


def test_an_exception_of_the_work_is_the_callers(workers: KeptWorkers) -> None:
    with pytest.raises(ValueError, match="item 2: expected another") as caught:
        list(workers.run(jobs.failing, [1, 2, 3], shared=None))
    assert "in failing" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="UnsendableError: two words"):
        list(workers.run(jobs.raises_unsendable, [1], shared=None))
    # and the workers are as before
    assert len(list(workers.run(jobs.scaled_square, range(4), shared=1))) == 4


def test_what_cannot_be_sent_is_refused_before_work_starts(workers: KeptWorkers) -> None:
    with (
        closing(workers.run(jobs.scaled_square, [1], shared=(i for i in range(3)))) as results,
        pytest.raises(TypeError, match="shared data cannot be sent to other processes"),
    ):
        next(results)


def test_torchs_settings_go_along(workers: KeptWorkers) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        [(_, dtype)] = workers.run(jobs.default_dtype, [0], shared=None)
    finally:
        torch.set_default_dtype(before)
    assert dtype == torch.float64


def test_a_worker_that_is_killed_is_replaced_and_its_item_done_again(
    workers: KeptWorkers, tmp_path: Path
) -> None:
    results = list(workers.run(jobs.killed_once, range(2), shared=tmp_path))
    assert sorted(results) == [(0, 0), (1, 1)]
    assert len(list(tmp_path.iterdir())) == 4  # each was tried twice


def test_a_worker_that_hangs_is_replaced(workers: KeptWorkers, tmp_path: Path) -> None:
    began = time.monotonic()
    results = list(workers.run(jobs.hangs_once, range(3), shared=tmp_path))
    assert sorted(results) == [(0, 0), (1, 1), (2, 2)]
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_stopped_worker_is_replaced(workers: KeptWorkers, tmp_path: Path) -> None:
    stopped: set[int] = set()

    def hear(number: int, message: object) -> bool:
        pid = int((tmp_path / "pid-0").read_text())
        if not stopped:
            stopped.add(pid)
            os.kill(pid, signal.SIGSTOP)  # it can neither answer nor read
        return pid not in stopped

    assert list(workers.run(jobs.notes_and_waits, [0], shared=tmp_path, heard=hear)) == [(0, 0)]
    assert int((tmp_path / "pid-0").read_text()) not in stopped


def test_items_are_looked_up_when_they_are_handed_out(workers: KeptWorkers) -> None:
    looked_up = []

    class Items(Sequence[int]):
        def __len__(self) -> int:
            return 100

        def __getitem__(self, number: int) -> int:  # type: ignore[override]
            looked_up.append(number)
            return 2 * number

    with closing(workers.run(jobs.scaled_square, Items(), shared=1)) as results:
        for n_done, (number, result) in enumerate(results):
            assert result == 4 * number**2
            assert len(looked_up) <= n_done + 4
    assert looked_up == list(range(100))


def test_slow_work_that_reports_is_left_alone(workers: KeptWorkers) -> None:
    results = dict(workers.run(jobs.slow_but_alive, [5], shared=4.0))
    assert results == {0: 5}


@pytest.mark.slow
def test_work_that_kills_every_worker_ends_the_run(workers: KeptWorkers) -> None:
    with pytest.raises(WorkerLostError, match=r"item 0 was tried 3 times.*killed by SIGKILL"):
        list(workers.run(jobs.killed_always, [1], shared=None))


def test_who_leaves_early_leaves_no_work_behind(workers: KeptWorkers, tmp_path: Path) -> None:
    def interrupt(number: int, message: object) -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(workers.run(jobs.notes_and_waits, [0, 1], shared=tmp_path, heard=interrupt))
    for note in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text()), 0)


def test_what_work_prints_stays_out_of_the_callers_output(
    workers: KeptWorkers, capfd: pytest.CaptureFixture[str]
) -> None:
    with local_executor(1, threads=1).kept() as fresh:  # started while output is captured
        list(fresh.run(jobs.prints, [0], shared=None))
    out, err = capfd.readouterr()
    assert out == ""
    assert "printed by work" in err


@pytest.mark.slow
def test_workers_end_with_their_executor() -> None:
    [(_, pid)] = local_executor(1, threads=1).run(jobs.own_process, [0], shared=None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_executors_are_copied_and_pickled_without_their_processes(workers: KeptWorkers) -> None:
    assert isinstance(EXECUTOR, Executor)
    assert isinstance(workers, Executor)
    assert copy.deepcopy(EXECUTOR) == EXECUTOR
    assert copy.deepcopy(workers) is workers
    assert pickle.loads(pickle.dumps(workers)) == EXECUTOR  # noqa: S301


def test_one_run_at_a_time(workers: KeptWorkers) -> None:
    with closing(workers.run(jobs.scaled_square, range(9), shared=1)) as results:
        next(results)
        with pytest.raises(RuntimeError, match="its last run has not ended"):
            next(workers.run(jobs.scaled_square, [1], shared=1))


def test_an_executor_whose_block_has_ended_says_so() -> None:
    with EXECUTOR.kept() as ended:
        assert ended.pids == []  # none is started before it is needed
    with pytest.raises(RuntimeError, match="its `with` block has ended; use one that is open"):
        next(ended.run(jobs.scaled_square, [1], shared=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": []}, "at least one device"),
        ({"workers": 0}, "workers: expected a whole number of at least 1, got 0"),
        ({"workers": ["gpu:7"]}, "expected devices such as"),
        ({"workers": ["cpu", "meta"]}, "expected devices such as .* got 'meta'"),
        ({"workers": ["mps"]}, "expected devices such as .* got 'mps'"),
        ({"workers": ["cuda:99"]}, "cuda:99 is not here"),
        ({"workers": 1, "threads": 0}, "threads: expected a whole number"),
        ({"workers": 1, "tries": 0}, "tries: expected a whole number"),
        ({"workers": 1, "silence": 0}, "silence: expected a finite number above 0"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        local_executor(**arguments)  # type: ignore[arg-type]


def test_cores_are_shared_out() -> None:
    n_cores = len(os.sched_getaffinity(0))
    assert local_executor(n_cores).threads == 1
    assert local_executor(1).threads == n_cores
    assert local_executor(5 * n_cores).threads == 1
