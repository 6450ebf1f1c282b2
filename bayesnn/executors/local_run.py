"""One run over local worker processes: items go out, results come back, lost items go out again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from bayesnn.executors.local_slot import Event, Piece, Slot
from bayesnn.executors.lost_worker import WorkerLostError
from bayesnn.executors.protocol import Heard
from bayesnn.executors.sending import packed, unpacked

_LOOK = 0.5  # seconds between two looks at who is silent
_AHEAD = 2  # items a worker that are out or done and not taken, so that memory stays bounded


class LocalRun:
    """The state of one run."""

    def __init__(
        self, slots: Sequence[Slot], run: bytes, items: Sequence[Any], *, tries: int
    ) -> None:
        """Start a thread for each worker.

        Args:
            slots: the workers.
            run: work, shared data and settings, packed.
            items: what to do; each is fetched when it is handed out.
            tries: of an item whose workers are lost.
        """
        self._slots, self._items, self._tries = slots[: len(items)], items, tries
        self._n_open = len(self._slots)
        self._tried: Counter[int] = Counter()
        self._todo: SimpleQueue[Piece | None] = SimpleQueue()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._threads = [
            threading.Thread(target=slot.serve, args=(run, self._todo, self._events), daemon=True)
            for slot in self._slots
        ]
        for slot, thread in zip(self._slots, self._threads, strict=True):
            slot.begin_run()
            thread.start()

    def results(
        self, heard: Heard | None, silence: float
    ) -> Generator[tuple[int, Any], None, None]:
        """Yield results as they come.

        Args:
            heard: takes what work says.
            silence: seconds without a sign after which a worker is taken to hang.

        Yields:
            (number of the item, its result)
        """
        out = min(len(self._items), _AHEAD * len(self._slots))
        for number in range(out):
            self._hand_out(number)
        n_done = 0
        while n_done < len(self._items):
            for slot in self._slots:
                slot.kill_if_silent(silence)
            try:
                kind, number, content, slot = self._events.get(timeout=_LOOK)
            except Empty:
                continue
            if kind == "done":
                yield number, unpacked(content)
                n_done += 1
                if out < len(self._items):
                    self._hand_out(out)
                    out += 1
            elif kind == "failed":
                raise unpacked(content)
            elif kind == "said":
                if heard is not None and heard(number, unpacked(content)):
                    slot.stop(number)
            else:
                self._replace(kind, number, content)

    def _hand_out(self, number: int) -> None:
        self._todo.put((number, packed(self._items[number], "an item")))

    def _replace(self, kind: str, number: int, reason: str) -> None:
        """Give an item whose worker is lost to another, unless there were too many."""
        if kind == "closed":
            self._n_open -= 1
            if self._n_open == 0:
                raise RuntimeError(f"executor: no worker process could be started: {reason}.")
            return
        self._tried[number] += 1
        if self._tried[number] == self._tries:
            raise WorkerLostError(number, self._tries, reason)
        self._hand_out(number)

    def end(self) -> None:
        """Cancel what is not done, and end the threads."""
        while not self._todo.empty():
            self._todo.get()
        for _ in self._threads:
            self._todo.put(None)
        for slot, thread in zip(self._slots, self._threads, strict=True):
            while thread.is_alive():
                slot.cancel()  # again and again: it may just be starting its process
                thread.join(0.05)
