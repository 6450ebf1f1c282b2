"""Ray's tasks as workers: what they give back, and what befalls them."""

from __future__ import annotations

import copy
import importlib
import os
import pickle  # noqa: TID251  # users pickle estimators, and executors in them
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import torch

from bayesnn.executors import Executor, Needs, WorkerLostError, ray_executor
from bayesnn.executors.on_ray import RayWorkers
from bayesnn.executors.ray_cluster import connected, room
from tests.bayesnn.executors import jobs
from tests.bayesnn.executors.local_ray import ray_processes
from tests.ensembles.executor_cases import assert_same, classifier, data, regressor


def test_results_are_those_of_one_process_each_once(ray_workers: RayWorkers) -> None:
    results = list(ray_workers.run(jobs.scaled_square, range(30), shared=10))
    assert sorted(results) == [(i, 10 * i**2) for i in range(30)]
    assert list(ray_workers.run(jobs.scaled_square, [], shared=10)) == []


def test_a_process_has_the_data_of_the_run_it_works_for(ray_workers: RayWorkers) -> None:
    for factor in (1, 2, 3):  # the same processes, other data
        assert dict(ray_workers.run(jobs.scaled_square, [1, 2], shared=factor)) == {
            0: factor,
            1: 4 * factor,
        }


def test_tasks_have_their_device_and_threads(ray_workers: RayWorkers) -> None:
    [(_, found)] = ray_workers.run(jobs.where, [0], shared=None)
    assert found == ("cpu", 1)
    [(_, found)] = ray_workers.run(jobs.where, [0], shared=None, needs=Needs(cpus=2))
    assert found == ("cpu", 2)
    torch.set_default_dtype(torch.float64)
    try:
        [(_, dtype)] = ray_workers.run(jobs.default_dtype, [0], shared=None)
    finally:
        torch.set_default_dtype(torch.float32)
    assert dtype == torch.float64


def test_as_many_work_as_fit(ray_workers: RayWorkers) -> None:
    assert ray_workers.n_workers() == 2
    assert ray_workers.n_workers(Needs(cpus=2)) == 1
    assert ray_workers.n_workers(Needs(memory=2**60)) == 1  # at least, though none fits


def test_what_work_says_is_heard_and_may_stop_its_item_alone(ray_workers: RayWorkers) -> None:
    heard = set()

    def hear(number: int, message: object) -> bool:
        heard.add((number, message))
        return number == 1

    results = dict(ray_workers.run(jobs.slow_but_alive, [7, 8], shared=1.0, heard=hear))
    assert results == {0: 7, 1: 8}
    assert heard == {(0, "alive"), (1, "alive")}
    stopped = dict(ray_workers.run(jobs.counting, [5], shared=10**9, heard=lambda *_: True))
    assert 0 < stopped[0] < 10**9


def test_an_exception_of_the_work_is_the_callers(ray_workers: RayWorkers) -> None:
    with pytest.raises(ValueError, match="item 2: expected another") as caught:
        list(ray_workers.run(jobs.failing, [1, 2, 3], shared=None))
    assert "in failing" in caught.value.__notes__[0]


def test_workers_that_are_killed_are_replaced_and_their_items_done_again(
    ray_workers: RayWorkers, tmp_path: Path
) -> None:
    # both workers at once: every item kills its process when it is first tried
    results = list(ray_workers.run(jobs.killed_once, range(2), shared=tmp_path))
    assert sorted(results) == [(0, 0), (1, 1)]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_worker_that_hangs_is_killed_and_its_item_done_again(
    ray_workers: RayWorkers, tmp_path: Path
) -> None:
    hasty = RayWorkers(ray_executor(tries=3, silence=2.0), ray_workers._ray)
    results = list(hasty.run(jobs.hangs_once, range(3), shared=tmp_path))
    assert sorted(results) == [(0, 0), (1, 1), (2, 2)]
    assert len(list(tmp_path.glob("1-*"))) >= 2


@pytest.mark.slow
def test_a_stopped_worker_is_killed_and_its_item_done_again(
    ray_workers: RayWorkers, tmp_path: Path
) -> None:
    stopped: set[int] = set()

    def hear(number: int, message: object) -> bool:
        pid = int((tmp_path / "pid-0").read_text())
        if not stopped:
            stopped.add(pid)
            os.kill(pid, signal.SIGSTOP)  # it can neither answer nor read
        return pid not in stopped

    hasty = RayWorkers(ray_executor(tries=3, silence=2.0), ray_workers._ray)
    assert list(hasty.run(jobs.notes_and_waits, [0], shared=tmp_path, heard=hear)) == [(0, 0)]
    assert int((tmp_path / "pid-0").read_text()) not in stopped


@pytest.mark.slow
def test_a_mailbox_that_hangs_is_started_again_and_no_worker_counts_as_silent(
    ray_workers: RayWorkers, tmp_path: Path
) -> None:
    others, stopped, heard_after = set(_mailboxes()), list[int](), list[object]()

    def hear(number: int, message: object) -> None:
        if not stopped:
            stopped.extend(set(_mailboxes()) - others)
            os.kill(stopped[0], signal.SIGSTOP)
        elif stopped[0] not in _mailboxes():
            heard_after.append(message)

    hasty = RayWorkers(ray_executor(tries=1, silence=3.0), ray_workers._ray)
    assert list(hasty.run(jobs.slow_but_alive, [5], shared=25.0, heard=hear)) == [(0, 5)]
    hasty.close()
    assert len(stopped) == 1
    assert len(heard_after) > 5


def _mailboxes() -> list[int]:
    return ray_processes(b"ray::Mailbox")


@pytest.mark.slow
def test_work_that_kills_every_worker_ends_the_run(ray_workers: RayWorkers) -> None:
    few = RayWorkers(ray_executor(tries=2), ray_workers._ray)
    with pytest.raises(WorkerLostError, match="item 0 was tried 2 times"):
        list(few.run(jobs.killed_always, [1], shared=None))


def test_who_leaves_early_leaves_no_work_behind(ray_workers: RayWorkers, tmp_path: Path) -> None:
    def interrupt(number: int, message: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ray_workers.run(jobs.notes_and_waits, [0, 1], shared=tmp_path, heard=interrupt))
    # the cores are free for the next run
    assert dict(ray_workers.run(jobs.scaled_square, [1, 2], shared=1)) == {0: 1, 1: 4}


def test_what_no_machine_has_is_said_and_given_up(ray_workers: RayWorkers) -> None:
    greedy = RayWorkers(ray_executor(cpus=64, silence=1.0), ray_workers._ray)
    with (
        pytest.warns(RuntimeWarning, match="no machine of the Ray cluster has 64 CPU"),
        pytest.raises(RuntimeError, match="no machine of the Ray cluster had 64 CPU for 1 s"),
        closing(greedy.run(jobs.scaled_square, [1], shared=1)) as results,
    ):
        next(results)


def test_a_connection_that_was_there_is_kept(ray_workers: RayWorkers) -> None:
    with connected(None) as ray:
        assert room(ray, {"CPU": 1.0, "GPU": 0.0, "memory": 0.0}) == 2
    assert ray.is_initialized()


def test_ensembles_are_the_same(ray_workers: RayWorkers) -> None:
    X, y = data()
    assert_same(regressor(executor=ray_workers).fit(X, y), regressor().fit(X, y))
    assert_same(classifier(executor=ray_workers).fit(X, y > 0), classifier().fit(X, y > 0))


def test_executors_are_copied_and_pickled_without_their_connection(
    ray_workers: RayWorkers,
) -> None:
    executor = ray_executor("ray://head:10001", gpus=0.5)
    assert isinstance(executor, Executor)
    assert isinstance(ray_workers, Executor)
    assert copy.deepcopy(executor) == executor
    assert copy.deepcopy(ray_workers) is ray_workers
    assert pickle.loads(pickle.dumps(ray_workers)) == ray_workers._settings  # noqa: S301
    assert executor.device_type == "cuda"
    assert ray_executor().device_type == "cpu"


def test_a_missing_ray_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'bayesnn\[distributed\]'"):
        ray_executor()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cpus": 0}, "cpus: expected a finite number above 0"),
        ({"gpus": -1}, "gpus: expected a finite number above 0"),
        ({"memory": 0}, "memory: expected a finite number above 0"),
        ({"tries": 0}, "tries: expected a whole number"),
        ({"silence": float("nan")}, "silence: expected a finite number above 0"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ray_executor(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_where_nobody_answers_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # whatever other tests have begun
    with pytest.raises(ConnectionError, match=rf"no Ray answers at {address} \(.*refused"):
        ray_executor(address).n_workers()


def test_machines_without_what_work_imports_say_so(ray_workers: RayWorkers, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def work(shared, item, context): return item")
    sys.path.insert(0, str(tmp_path))
    try:
        work = importlib.import_module("only_here").work
        message = (
            r"executor: a machine .* cannot run the work \(ModuleNotFoundError: .*'only_here'\)"
        )
        with pytest.raises(RuntimeError, match=message):
            list(ray_workers.run(work, [1], shared=None))
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["only_here"]


def test_clusters_without_this_package_say_so() -> None:
    """As it comes through the port for clients, where the package is looked for at once."""

    def remote() -> NoReturn:
        raise ModuleNotFoundError("No module named 'bayesnn'")

    lacking = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=remote))
    workers = RayWorkers(ray_executor(), SimpleNamespace(remote=lambda _: lacking))
    with pytest.raises(RuntimeError, match=r"cannot run the work \(No module named 'bayesnn'\)"):
        list(workers.run(jobs.scaled_square, [1], shared=1))


def test_a_run_after_the_end_of_its_block_is_refused(ray_workers: RayWorkers) -> None:
    with ray_executor().kept() as workers:
        pass
    with pytest.raises(RuntimeError, match="executor: its `with` block has ended"):
        list(workers.run(jobs.scaled_square, [1], shared=1))
    assert len(list(ray_workers.run(jobs.scaled_square, [1], shared=1))) == 1


def test_importing_the_packages_does_not_import_ray() -> None:
    import subprocess

    code = (
        "import sys, bayesnn.executors as e, ensembles, ct; e.local_executor(1); "
        "e.executor_from('local:1'); ensembles.EnsembleRegressor; sys.exit('ray' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
