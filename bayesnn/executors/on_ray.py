"""Work on a Ray cluster: Ray schedules it, tries it again and moves its data."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bayesnn.checks import check_count, check_positive
from bayesnn.executors.protocol import Heard, Item, Needs, Result, Shared, Work
from bayesnn.executors.ray_cluster import cannot_work, check_installed, connected, room
from bayesnn.executors.ray_run import RayRun
from bayesnn.executors.ray_worker import Mailbox
from bayesnn.executors.sending import packed
from bayesnn.executors.torch_settings import torch_settings

NO_NEEDS = Needs()
_ON_HEAD = {"node:__internal_head__": 0.001}  # the machine that a cluster cannot lose


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Runs items as Ray's tasks; build it with `ray_executor()`.

    Attributes:
        address: of the cluster; None for where `ray.init()` would go.
        needs: of each task, before what callers say.
        tries: of an item, whose workers are lost, before the run is given up.
        silence: seconds without a report after which a worker is taken to hang.
    """

    address: str | None
    needs: Needs
    tries: int = 4
    silence: float = 600.0

    @property
    def device_type(self) -> str:
        """What a task computes on: "cuda" where it is given a GPU."""
        return "cuda" if self.needs.gpus else "cpu"

    def n_workers(self, needs: Needs = NO_NEEDS) -> int:
        """Return how many tasks fit the cluster as it is now."""
        with self.kept() as workers:
            return workers.n_workers(needs)

    def run(
        self,
        work: Work[Shared, Item, Result],
        items: Sequence[Item],
        *,
        shared: Shared,
        needs: Needs = NO_NEEDS,
        heard: Heard | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result) as they come; see `Executor.run`."""
        with self.kept() as workers:
            yield from workers.run(work, items, shared=shared, needs=needs, heard=heard)

    @contextmanager
    def kept(self) -> Iterator[RayWorkers]:
        """Yield an executor that stays connected between runs, until the block ends.

        Yields:
            The executor.

        Raises:
            ImportError: Ray is not installed.
            ConnectionError: there is no Ray at the address.
        """
        with connected(self.address) as ray:
            workers = RayWorkers(self, ray)
            try:
                yield workers
            finally:
                workers.close()


class RayWorkers:
    """A connected executor."""

    def __init__(self, settings: RayExecutor, ray: Any) -> None:
        """Keep the connection; see `RayExecutor.kept`."""
        self._settings, self._ray = settings, ray
        self._mailbox: Any = None
        self._ended = False

    def close(self) -> None:
        """End what runs beside the tasks, and refuse further runs."""
        self._ended = True
        if self._mailbox is not None:
            self._ray.kill(self._mailbox)
            self._mailbox = None

    def __deepcopy__(self, memo: object) -> RayWorkers:
        return self  # as scikit-learn's clone asks for; a connection is not copied

    def __reduce__(self) -> tuple[object, ...]:
        return _settings_alone, (self._settings,)

    @property
    def device_type(self) -> str:
        """What a task computes on."""
        return self._settings.device_type

    def n_workers(self, needs: Needs = NO_NEEDS) -> int:
        """Return how many tasks fit the cluster as it is now."""
        return max(1, room(self._ray, self._asked(needs)))

    @contextmanager
    def kept(self) -> Iterator[RayWorkers]:
        """Yield this: it is connected.

        Yields:
            The executor.
        """
        yield self

    def run(
        self,
        work: Work[Shared, Item, Result],
        items: Sequence[Item],
        *,
        shared: Shared,
        needs: Needs = NO_NEEDS,
        heard: Heard | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result) as they come; see `Executor.run`."""
        if self._ended:  # Ray would start a cluster of its own
            raise RuntimeError(
                "executor: its `with` block has ended; use one that is open, or the executor "
                "that it was made from."
            )
        run = packed((work, shared, torch_settings()), "the work or its shared data")
        if self._mailbox is None:
            mailbox = self._ray.remote(Mailbox).options(
                num_cpus=0, max_restarts=-1, max_task_retries=0, resources=_ON_HEAD
            )
            try:
                self._mailbox = mailbox.remote()
            except ImportError as error:  # of the cluster, through its clients' port
                raise cannot_work(error) from error
        ray_run = RayRun(
            self._ray,
            run,
            items,
            mailbox=self._mailbox,
            asked=self._asked(needs),
            tries=self._settings.tries,
            silence=self._settings.silence,
        )
        try:
            yield from ray_run.results(heard)
        finally:
            ray_run.end()

    def _asked(self, needs: Needs) -> dict[str, float]:
        own = self._settings.needs
        return {
            "CPU": next(cpus for cpus in (own.cpus, needs.cpus, 1.0) if cpus is not None),
            "GPU": own.gpus or 0.0,
            "memory": own.memory or needs.memory or 0.0,
        }


def _settings_alone(settings: RayExecutor) -> RayExecutor:
    return settings


def ray_executor(
    address: str | None = None,
    *,
    cpus: float | None = None,
    gpus: float | None = None,
    memory: int | None = None,
    tries: int = 4,
    silence: float = 600.0,
) -> RayExecutor:
    """Return an executor that works on a Ray cluster, or on a Ray started here.

    The extra `distributed` brings Ray. The machines of a cluster need this package too, in the same
    version. A connection that `ray.init()` has made is used and kept; without one, Ray is connected
    to or started for each run, which takes seconds, and left again.

    Args:
        address: `ray://HOST:PORT` or `HOST:PORT`; None for where `ray.init()` would go:
            RAY_ADDRESS, a cluster of this machine, or one that is started here and ends with the
            work.
        cpus: cores of each task; None for what the work asks for, or one.
        gpus: GPUs of each task, on which it then computes; None for none.
        memory: bytes that Ray sets aside for each task; None for what the work asks for.
        tries: of an item, whose workers are lost, before the run is given up.
        silence: seconds without a report after which a worker is taken to hang. Work that reports
            nothing must end within them.

    Returns:
        The executor; nothing is connected yet.

    Raises:
        ValueError: numbers that are not positive.
        ImportError: Ray is not installed.

    Example:
        >>> ray_executor("ray://head:10001", gpus=1).device_type
        'cuda'
    """
    check_installed()  # before any work
    for value, name in ((cpus, "cpus"), (gpus, "gpus"), (memory, "memory")):
        if value is not None:
            check_positive(value, name)
    return RayExecutor(
        address=address,
        needs=Needs(cpus=cpus, gpus=gpus, memory=memory),
        tries=check_count(tries, "tries"),
        silence=check_positive(silence, "silence"),
    )
