"""What an executor is: it runs one function on many items, somewhere, and hands results back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import torch

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

Heard: TypeAlias = Callable[[int, object], bool | None]
"""Called in the caller's process with (an item's number, what its work said)."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the work on one item takes, as far as the caller knows it; None where it does not.

    What the user gave the executor goes first. Executors that share out no such thing take no
    notice.

    Attributes:
        cpus: cores.
        gpus: GPUs; a part of one is possible.
        memory: bytes of the host's memory.
    """

    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Context:
    """What work is told beside its item.

    Attributes:
        device: where to compute; None for where the caller would.
        report: takes a function that makes a message, and returns whether the caller has asked
            this item to stop early, which work may heed by returning what it has. It is a sign of
            life: long work reports at every step. The message is made and sent a few times a
            second at most, so what must arrive belongs into the result.
    """

    device: torch.device | None
    report: Callable[[Callable[[], object]], bool]


Work: TypeAlias = Callable[[Shared, Item, Context], Result]


@runtime_checkable
class Executor(Protocol):
    """Runs work on items.

    Every executor gives the results that `serial_executor()` gives, in another order: work takes
    what it needs from its arguments alone, and its random numbers from seeds in them.
    """

    @property
    def device_type(self) -> str | None:
        """Type of the devices on which work computes, "cpu" or "cuda"; None for the caller's."""
        ...

    def kept(self) -> AbstractContextManager[Executor]:
        """Return a context with an executor that keeps its processes or connection between runs.

        Without it every run and every count of workers starts and ends them, which takes seconds.
        """
        ...

    def n_workers(self, needs: Needs = ...) -> int:
        """Return how many items are worked on at a time, so that a caller can cut work to size.

        Args:
            needs: of the work on one item.

        Returns:
            At least 1.
        """
        ...

    def run(
        self,
        work: Work[Shared, Item, Result],
        items: Sequence[Item],
        *,
        shared: Shared,
        needs: Needs = ...,
        heard: Heard | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result) as items are finished, in any order, each once.

        Work that is lost with its worker (killed, hung, gone with its machine) is tried again
        elsewhere. An exception that work raises is raised here, and ends the run. Where the
        caller leaves early, by Ctrl-C or an exception, what still runs is cancelled: use
        `contextlib.closing` to make sure that this happens at once.

            with closing(executor.run(work, items, shared=data)) as results:
                for number, result in results:
                    ...

        Args:
            work: a function of a module, so that other processes find it: (shared, item, context)
                to a result. Results should hold no tensors of a GPU.
            items: small descriptions of the pieces: ranges of members, numbers of slices. Each is
                looked up when it is handed out, a few ahead, so a sequence may read them from disk.
            shared: what all pieces need; it is sent to each worker once, or placed once. Work
                does not change it.
            needs: of the work on one item.
            heard: called in this process with what work reports; where it returns True the item is
                asked to stop.

        Yields:
            The items' results.

        Raises:
            WorkerLostError: an item's worker was lost too often.
        """
        ...
