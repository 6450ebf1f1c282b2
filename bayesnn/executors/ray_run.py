"""One run on Ray: tasks are handed to Ray a few ahead, and those that hang are ended.

Ray decides where a task runs, moves the data, and tries it again when its process or machine is
lost. What Ray cannot know is whether work hangs: a process whose work says nothing for too long is
killed here, and to Ray it is one lost process more. So is the mailbox, where it does not answer.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from bayesnn.executors.local_slot import START_LIMIT
from bayesnn.executors.lost_worker import WorkerLostError
from bayesnn.executors.protocol import Heard
from bayesnn.executors.ray_cluster import cannot_work, room
from bayesnn.executors.ray_worker import Begun, done, killed
from bayesnn.executors.sending import packed, unpacked

_LOOK = 0.2  # seconds between two looks into the mailbox
_COUNT = 5.0  # seconds between two looks at how large the cluster is
_AHEAD = 2  # tasks for each that fits, so that no worker waits and memory stays bounded


class RayRun:
    """The state of one run."""

    def __init__(
        self,
        ray: Any,
        run: bytes,
        items: Sequence[Any],
        *,
        mailbox: Any,
        asked: Mapping[str, float],
        tries: int,
        silence: float,
    ) -> None:
        """Place what all items share.

        Args:
            ray: the module, connected.
            run: work, shared data and settings, packed.
            items: what to do; each is fetched when it is handed out.
            mailbox: takes messages of work.
            asked: what a task needs of each resource: "CPU", "GPU", "memory".
            tries: of an item, whose workers are lost.
            silence: seconds without a sign after which a worker is taken to hang.
        """
        self._ray, self._items, self._asked = ray, items, asked
        self._tries, self._silence = tries, silence
        self._run = ray.put(run)
        self._mailbox = mailbox
        self._mail: Any = None  # what was said, when it comes
        self._due = 0.0  # when to ask for it again
        self._asked_at = 0.0  # when it was asked for
        self._heard_at = 0.0  # up to when all that was said has been heard
        self._task = ray.remote(done).options(
            num_cpus=asked["CPU"],
            num_gpus=asked["GPU"],
            memory=asked["memory"] or None,
            max_retries=tries - 1,
            retry_exceptions=False,
            name="bayesnn",
        )
        self._running: dict[Any, int] = {}  # references of results
        self._begun: dict[int, Begun] = {}
        self._signs: dict[int, float] = {}
        self._stop: set[int] = set()
        self._out = 0
        self._counted = -_COUNT
        self._room = 0
        self._lacking_since: float | None = None

    def results(self, heard: Heard | None) -> Generator[tuple[int, Any], None, None]:
        """Yield results as they come.

        Args:
            heard: takes what work says.

        Yields:
            (number of the item, its result)
        """
        while self._running or self._out < len(self._items):
            self._hand_out()
            if self._mail is None and time.monotonic() >= self._due:
                self._mail = self._mailbox.collected.remote(self._run.hex(), self._stop)
                self._asked_at = time.monotonic()
            waiting = [*self._running, *([] if self._mail is None else [self._mail])]
            ready, _ = self._ray.wait(waiting, num_returns=1, timeout=_LOOK)
            for reference in ready:
                if reference == self._mail:
                    self._mail, self._due = None, time.monotonic() + _LOOK
                    self._take_mail(reference, heard)
                else:
                    yield self._taken(reference)
            self._end_silent()
            self._end_silent_mailbox()

    def _hand_out(self) -> None:
        """Hand out items, as many as the cluster can work on soon."""
        now = time.monotonic()
        if now - self._counted >= _COUNT:
            self._counted, self._room = now, room(self._ray, self._asked)
            self._complain(now)
        while self._out < len(self._items) and len(self._running) < _AHEAD * max(1, self._room):
            item = packed(self._items[self._out], "an item")
            threads = max(1, int(self._asked["CPU"]))
            reference = self._task.remote(
                [self._run], self._out, item, self._asked["GPU"] > 0, threads, self._mailbox
            )
            self._running[reference] = self._out
            self._out += 1

    def _complain(self, now: float) -> None:
        """Say so where no machine is large enough, and give up where none comes."""
        if self._room:
            self._lacking_since = None
            return
        wanted = ", ".join(f"{amount:g} {name}" for name, amount in self._asked.items() if amount)
        if self._lacking_since is None:
            self._lacking_since = now
            warnings.warn(
                f"executor: no machine of the Ray cluster has {wanted}; waiting for one.",
                RuntimeWarning,
                stacklevel=2,
            )
        elif now - self._lacking_since > self._silence:
            raise RuntimeError(
                f"executor: no machine of the Ray cluster had {wanted} for {self._silence:g} s; "
                "ask for less, or add machines."
            )

    def _taken(self, reference: Any) -> tuple[int, Any]:
        number = self._running.pop(reference)
        self._signs.pop(number, None)
        errors = self._ray.exceptions
        lost = (
            errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError,
            errors.ObjectLostError,
        )  # fmt: skip
        try:
            kind, content = self._ray.get(reference)
        except lost as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise WorkerLostError(number, self._tries, reason) from error
        except errors.RayError as error:  # before the work, whose own errors come as results
            raise cannot_work(error) from error
        if kind == "failed":
            raise unpacked(content)
        return number, unpacked(content)

    def _take_mail(self, reference: Any, heard: Heard | None) -> None:
        """Take what work has said, and its signs of life."""
        try:
            said = self._ray.get(reference)
        except self._ray.exceptions.RayActorError:
            # it is starting again, and what was said meanwhile is lost
            now = time.monotonic()
            self._signs = {number: max(sign, now) for number, sign in self._signs.items()}
            return
        self._heard_at = self._asked_at
        for number, begun, message in said:
            if number not in self._running.values():
                continue  # it has ended meanwhile
            self._signs[number] = self._heard_at + (0.0 if begun.up else START_LIMIT)
            self._begun[number] = begun
            if message is not None and heard is not None and heard(number, unpacked(message)):
                self._stop.add(number)

    def _end_silent(self) -> None:
        """Kill processes whose work has given no sign of life for too long; Ray tries it again."""
        # not by the clock: the caller may have been busy, or the mailbox deaf
        now = self._heard_at
        for number in [n for n, sign in self._signs.items() if now - sign > self._silence]:
            del self._signs[number]  # until it is begun again
            self._kill(self._begun[number])

    def _end_silent_mailbox(self) -> None:
        """Kill the mailbox where it has not answered for too long; Ray starts it again."""
        now = time.monotonic()
        if self._mail is None or now - self._asked_at <= self._silence:
            return
        if not self._ray.wait([self._mail], timeout=0)[0]:  # not merely unread
            self._asked_at = now
            self._ray.kill(self._mailbox, no_restart=False)

    def _kill(self, begun: Begun) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node_id=begun.node, soft=False)
        kill: Callable[..., Any] = self._ray.remote(killed).options(
            num_cpus=0, max_retries=0, scheduling_strategy=there
        ).remote  # fmt: skip
        kill(begun.pid)  # where the machine is gone the task fails, and Ray knows of it

    def end(self) -> None:
        """Cancel what is not done."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
