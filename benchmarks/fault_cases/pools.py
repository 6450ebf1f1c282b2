"""Workers of one kind, and what can befall them while they work."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bayesnn.executors import Executor, local_executor, ray_executor
from benchmarks.fault_cases.case import NotPossibleError

N_WORKERS = 4
SILENCE = 20.0  # seconds after which a process is taken to hang; a new one starts within them


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Workers that a fault may befall.

    Attributes:
        executor: hands them work.
        processes: numbers of those that are at work now.
        listeners: of those that are no workers, but hear of them.
        second: takes the cluster's second machine away; None where there is none.
    """

    executor: Executor
    processes: Callable[[], list[int]]
    listeners: Callable[[], list[int]] = list
    second: Callable[[], None] | None = None


@contextmanager
def local_pool() -> Iterator[Pool]:
    """Yield four processes of this machine."""
    with local_executor(N_WORKERS, threads=1, silence=SILENCE).kept() as workers:
        yield Pool(executor=workers, processes=lambda: list(workers.pids))


@contextmanager
def ray_pool() -> Iterator[Pool]:
    """Yield four workers of a Ray that is started here."""
    check_ray()
    from tests.bayesnn.executors.local_ray import local_ray, ray_processes

    with local_ray(N_WORKERS), ray_executor(silence=SILENCE).kept() as workers:
        yield Pool(
            executor=workers,
            processes=lambda: ray_processes(b"ray::bayesnn"),
            listeners=lambda: ray_processes(b"ray::Mailbox"),
        )


@contextmanager
def ray_machines() -> Iterator[Pool]:
    """Yield a cluster of a machine with a worker and, after the first loss again, one with two."""
    check_ray()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    there = []

    def join() -> None:
        there.append(cluster.add_node(num_cpus=2))
        cluster.wait_for_nodes()

    def leave() -> None:
        cluster.remove_node(there.pop(), allow_graceful=False)

    def machines() -> list[int]:
        if not there:
            join()
        return []

    try:
        join()
        with ray_executor(cluster.address, silence=60.0).kept() as workers:
            yield Pool(executor=workers, processes=machines, second=leave)
    finally:
        cluster.shutdown()


def one_is_killed(pool: Pool, rng: random.Random) -> int:
    """Kill −9 one worker; return how many."""
    return _each(signal.SIGKILL, rng.sample(found := pool.processes(), min(1, len(found))))


def half_are_killed(pool: Pool, rng: random.Random) -> int:
    """Kill −9 half of the workers at once, in half of the cases with who hears of them."""
    chosen = rng.sample(found := pool.processes(), len(found) // 2)
    heard = _each(signal.SIGKILL, rng.choice([[], pool.listeners()]))
    return _each(signal.SIGKILL, chosen) + heard


def who_hears_hangs(pool: Pool, rng: random.Random) -> int:  # noqa: ARG001
    """Stop the process that hears of the workers; return how many."""
    return _each(signal.SIGSTOP, pool.listeners())


def one_hangs(pool: Pool, rng: random.Random) -> int:
    """Stop one worker, which then neither answers nor ends; return how many."""
    return _each(signal.SIGSTOP, rng.sample(found := pool.processes(), min(1, len(found))))


def a_machine_leaves(pool: Pool, rng: random.Random) -> int:  # noqa: ARG001
    """Take the second machine away with all that runs on it; return how many."""
    assert pool.second is not None
    pool.second()
    return 1


def _each(signal_number: int, processes: list[int]) -> int:
    sent = 0
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal_number)
            sent += 1
    return sent


def check_ray() -> None:
    """Raise NotPossibleError where Ray is not installed."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise NotPossibleError("Ray is not installed") from error
