"""Work on several devices of this machine, a process each: GPUs, or groups of cores."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch

from bayesnn.checks import check_count, check_positive
from bayesnn.executors.local_device import local_device
from bayesnn.executors.local_run import LocalRun
from bayesnn.executors.local_slot import Slot
from bayesnn.executors.protocol import Heard, Item, Needs, Result, Shared, Work
from bayesnn.executors.same_end import hold_back_ctrl_c
from bayesnn.executors.sending import packed
from bayesnn.executors.torch_settings import torch_settings

NO_NEEDS = Needs()


@dataclass(frozen=True, kw_only=True)
class LocalExecutor:
    """Runs items in processes of this machine; build it with `local_executor()`.

    Attributes:
        devices: of the workers, one each.
        threads: of torch in a worker.
        tries: of an item, whose workers are lost, before the run is given up.
        silence: seconds without a report after which a worker is taken to hang.
    """

    devices: tuple[str, ...]
    threads: int
    tries: int = 4
    silence: float = 600.0

    @property
    def device_type(self) -> str:
        """Type of the devices; GPUs and cores are not mixed."""
        return torch.device(self.devices[0]).type

    def n_workers(self, needs: Needs = NO_NEEDS) -> int:  # noqa: ARG002
        """Return the number of devices."""
        return len(self.devices)

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
    def kept(self) -> Iterator[KeptWorkers]:
        """Yield an executor whose processes live on between runs, until the block ends.

        Yields:
            The executor; starting its processes takes some seconds, once.
        """
        with ThreadPoolExecutor(1, initializer=hold_back_ctrl_c) as starter, ExitStack() as ends:
            slots = [Slot(device, self.threads, starter) for device in self.devices]
            workers = KeptWorkers(self, slots)
            for end in (*(slot.close for slot in slots), workers.end):
                ends.callback(end)
            yield workers


class KeptWorkers:
    """An executor whose processes live on between its runs; one run at a time."""

    def __init__(self, settings: LocalExecutor, slots: Sequence[Slot]) -> None:
        """Keep the workers' places; see `LocalExecutor.kept`."""
        self._settings, self._slots, self._busy = settings, slots, False
        self._ended = False

    def end(self) -> None:
        """Refuse further runs: the processes end with their block."""
        self._ended = True

    def __deepcopy__(self, memo: object) -> KeptWorkers:
        return self  # as scikit-learn's clone asks for; processes are not copied

    def __reduce__(self) -> tuple[object, ...]:
        return _settings_alone, (self._settings,)

    @contextmanager
    def kept(self) -> Iterator[KeptWorkers]:
        """Yield this: it keeps its processes.

        Yields:
            The executor.
        """
        yield self

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that run now."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    @property
    def device_type(self) -> str:
        """Type of the devices."""
        return self._settings.device_type

    def n_workers(self, needs: Needs = NO_NEEDS) -> int:
        """Return the number of devices."""
        return self._settings.n_workers(needs)

    def run(
        self,
        work: Work[Shared, Item, Result],
        items: Sequence[Item],
        *,
        shared: Shared,
        needs: Needs = NO_NEEDS,  # noqa: ARG002
        heard: Heard | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result) as they come; see `Executor.run`."""
        if self._ended:
            raise RuntimeError(
                "executor: its `with` block has ended; use one that is open, or the whole executor."
            )
        if self._busy:
            raise RuntimeError("executor: its last run has not ended; end it, or use another.")
        run = packed((work, shared, torch_settings()), "the work or its shared data")
        self._busy = True
        local_run = LocalRun(self._slots, run, items, tries=self._settings.tries)
        try:
            yield from local_run.results(heard, self._settings.silence)
        finally:
            local_run.end()
            self._busy = False


def _settings_alone(settings: LocalExecutor) -> LocalExecutor:
    return settings


def local_executor(
    workers: int | Sequence[str | torch.device] | None = None,
    *,
    threads: int | None = None,
    tries: int = 4,
    silence: float = 600.0,
) -> LocalExecutor:
    """Return an executor that works on several devices of this machine, without Ray.

    Every device gets a process of its own. A process that is killed or hangs is replaced, and its
    item tried again.

    Args:
        workers: devices, such as ["cuda:0", "cuda:1"], or a number of processes that share the
            cores; None for all GPUs, or without any for a process a core.
        threads: of torch in each process; None shares the cores out evenly.
        tries: of an item, whose workers are lost, before the run is given up.
        silence: seconds without a report after which a worker is taken to hang. Work that reports
            nothing must end within them.

    Returns:
        The executor.

    Raises:
        ValueError: devices of two types or that are not here, none, or numbers not positive.

    Example:
        >>> local_executor(2, threads=1).devices
        ('cpu', 'cpu')
    """
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    n_cores = n_cores or 1
    if workers is None:
        n_gpus = torch.cuda.device_count()
        workers = [f"cuda:{i}" for i in range(n_gpus)] or n_cores
    if isinstance(workers, Sequence) and not isinstance(workers, str):
        devices = tuple(local_device(device) for device in workers)
    else:
        devices = ("cpu",) * check_count(workers, "workers")
    if not devices:
        raise ValueError('workers: expected at least one device, such as ["cuda:0"], got none.')
    if len({torch.device(device).type for device in devices}) > 1:
        raise ValueError(
            f"workers: expected devices of one type, as numbers differ between them, got {devices}."
        )
    each = max(1, n_cores // len(devices))
    return LocalExecutor(
        devices=devices,
        threads=check_count(each if threads is None else threads, "threads"),
        tries=check_count(tries, "tries"),
        silence=check_positive(silence, "silence"),
    )
