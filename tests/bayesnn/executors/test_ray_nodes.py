"""A cluster of two machines, as far as Ray can play one on a single host; one of them leaves."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bayesnn.executors import Executor, ray_executor
from bayesnn.executors.ray_cluster import connected
from ensembles import adam
from ensembles.progress import Progress
from tests.bayesnn.executors import jobs
from tests.ensembles.executor_cases import assert_same, data, regressor

pytestmark = pytest.mark.slow


@contextmanager
def two_machines() -> Iterator[tuple[Any, Any]]:
    """Yield the cluster and its second machine; its head has a core of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster, second
    finally:
        cluster.shutdown()


def test_a_machine_that_leaves_changes_nothing(tmp_path: Path) -> None:
    X, y = data()
    left: list[str] = []
    pieces: set[tuple[int, ...]] = set()
    with two_machines() as (cluster, second):

        def leave(progress: Progress) -> None:
            pieces.add(progress.members)
            if len(pieces) == 2 and not left:  # both machines work
                left.append("second")
                cluster.remove_node(second, allow_graceful=False)

        long = {"trainer": adam(steps=3000, batch_size=20)}
        executor = ray_executor(cluster.address, silence=120.0)
        found = regressor(**long, executor=executor).fit(X, y, callback=leave)
        assert left == ["second"]
        # the same pieces on the machine that is left
        with executor.kept() as workers:
            _wait_until(lambda: workers.n_workers() == 1)  # Ray learns of it after a while
            again = regressor(**long, executor=AsIfTwo(workers)).fit(X, y)
    assert_same(found, again, relative=0.0)


def test_ray_is_left_as_it_was_found() -> None:
    import ray

    with two_machines() as (cluster, _):
        executor = ray_executor(cluster.address)
        assert executor.n_workers() == 2
        assert not ray.is_initialized()
        results = dict(executor.run(jobs.scaled_square, [1, 2], shared=1))
        assert results == {0: 1, 1: 4}
        assert not ray.is_initialized()
        with connected(cluster.address):  # it still runs
            assert ray.is_initialized()


def test_a_cluster_is_reached_through_its_clients_port(tmp_path: Path) -> None:
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    port = _free_port()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "ray_client_server_port": port}
    )
    try:
        _wait_until(lambda: _listens(port))
        with ray_executor(f"ray://127.0.0.1:{port}", silence=8.0).kept() as workers:
            assert workers.n_workers() == 2
            assert sorted(workers.run(jobs.killed_once, range(2), shared=tmp_path)) == [
                (0, 0), (1, 1),
            ]  # fmt: skip
            hanging = tmp_path / "hanging"
            hanging.mkdir()
            results = sorted(workers.run(jobs.hangs_once, range(2), shared=hanging))
            assert results == [(0, 0), (1, 1)]
            with pytest.raises(ValueError, match="item 2: expected another"):
                list(workers.run(jobs.failing, [1, 2], shared=None))
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()


def _wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class AsIfTwo:
    """An executor that says it has two workers, so that pieces are those of two."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def n_workers(self, needs: object = None) -> int:
        return 2

    @contextmanager
    def kept(self) -> Iterator[AsIfTwo]:
        yield self
