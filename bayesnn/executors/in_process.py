"""Work done here and now, one item after the other: the reference for all executors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bayesnn.executors.protocol import Context, Heard, Item, Needs, Result, Shared, Work

NO_NEEDS = Needs()


@dataclass(frozen=True, kw_only=True)
class SerialExecutor:
    """Runs items one after the other in the caller's process; see `Executor` for the methods.

    Attributes:
        device: where work computes; None for where the caller would.
    """

    device: torch.device | None = None

    @property
    def device_type(self) -> str | None:
        """Type of the device; None for the caller's."""
        return None if self.device is None else self.device.type

    @contextmanager
    def kept(self) -> Iterator[SerialExecutor]:
        """Yield this: there is nothing to keep.

        Yields:
            The executor.
        """
        yield self

    def n_workers(self, needs: Needs = NO_NEEDS) -> int:  # noqa: ARG002
        """Return 1."""
        return 1

    def run(
        self,
        work: Work[Shared, Item, Result],
        items: Sequence[Item],
        *,
        shared: Shared,
        needs: Needs = NO_NEEDS,  # noqa: ARG002
        heard: Heard | None = None,
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield (number of the item, its result), in order."""
        for number, item in enumerate(items):
            stopped = False

            def report(message: Callable[[], object], number: int = number) -> bool:
                nonlocal stopped
                if heard is not None and heard(number, message()):
                    stopped = True
                return stopped

            yield number, work(shared, item, Context(device=self.device, report=report))


def serial_executor(device: str | torch.device | None = None) -> SerialExecutor:
    """Return the executor that does all work in this process, one item after the other.

    Args:
        device: where work computes, such as "cuda:1"; None for where the caller would.

    Returns:
        The executor.

    Example:
        >>> def square(shared, item, context):
        ...     return shared * item**2
        >>> dict(serial_executor().run(square, [1, 2, 3], shared=10))
        {0: 10, 1: 40, 2: 90}
    """
    return SerialExecutor(device=None if device is None else torch.device(device))
