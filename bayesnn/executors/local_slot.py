"""One worker's place: a process that is started when it is needed, and again when it is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Executor as Threads
from queue import SimpleQueue
from typing import Any

from bayesnn.executors.worker_process import WorkerProcess

START_LIMIT = 300.0  # seconds that a process may take to come up
START_TRIES = 3  # of a process that ends before it is up

Piece = tuple[int, bytes]
"""(number of the item, the item packed)"""
Event = tuple[str, int, Any, "Slot"]
"""("said" | "done" | "failed", number, bytes, slot), ("lost", number, reason, slot) for an item
whose worker is gone, or ("closed", -1, reason, slot) where no worker can be started."""


class Slot:
    """A place for one worker process."""

    def __init__(self, device: str, threads: int, starter: Threads) -> None:
        """Start nothing yet.

        Args:
            device: where its work computes.
            threads: of torch.
            starter: a thread that outlives the processes, and starts them.
        """
        self._device, self._threads, self._starter = device, threads, starter
        self._worker: WorkerProcess | None = None
        self._has_run = False  # whether the process has this run's work and data
        self._cancelled = threading.Event()
        self._enter("idle")

    @property
    def pid(self) -> int | None:
        """Number of the process, if there is one."""
        worker = self._worker
        return None if worker is None else worker.pid

    def begin_run(self) -> None:
        """Note that the process, if there is one, has another run's data."""
        self._has_run = False
        self._cancelled.clear()

    def serve(
        self,
        run: bytes,
        todo: SimpleQueue[Piece | None],
        events: SimpleQueue[Event],
    ) -> None:
        """Do items until None comes: the body of a thread.

        Args:
            run: work, shared data and settings, packed.
            todo: items to be done.
            events: takes what happens.
        """
        while worker := self._running(events):
            piece = todo.get()
            if piece is None:
                return
            try:
                self._do(worker, piece, run, events)
            except (EOFError, OSError):
                events.put(("lost", piece[0], self.close(), self))
            self._enter("idle")

    def _running(self, events: SimpleQueue[Event]) -> WorkerProcess | None:
        """Return the process, which is started if there is none."""
        reason = ""
        for _ in range(START_TRIES):
            if self._worker is not None or self._cancelled.is_set():
                return self._worker
            self._enter("starting")
            try:
                starting = self._starter.submit(WorkerProcess, self._device, self._threads)
                self._worker = starting.result()
                self._worker.receive()
            except (EOFError, OSError, RuntimeError) as error:  # no more threads, at the very end
                reason = self.close() if self._worker is not None else str(error)
            self._enter("idle")
        if self._worker is None:
            events.put(("closed", -1, reason, self))
        return self._worker

    def _do(
        self, worker: WorkerProcess, piece: Piece, run: bytes, events: SimpleQueue[Event]
    ) -> None:
        self._enter("working")
        if not self._has_run:
            worker.send("run", run)
            self._has_run = True
        worker.send("item", *piece)
        kind = ""
        while kind not in {"done", "failed"}:
            kind, number, content = worker.receive()
            self._sign = time.monotonic()
            events.put((kind, number, content, self))

    def _enter(self, state: str) -> None:
        self._sign, self._state = time.monotonic(), state

    def stop(self, number: int) -> None:
        """Ask the process to stop this item early."""
        worker = self._worker
        if worker is not None:
            try:
                worker.send("stop", number)
            except OSError:
                return  # it is gone, as its thread will find

    def kill_if_silent(self, silence: float) -> None:
        """End the process if its work has given no sign of life for so many seconds."""
        limit = {"idle": float("inf"), "starting": START_LIMIT, "working": silence}[self._state]
        worker = self._worker
        if worker is not None and time.monotonic() - self._sign > limit:
            worker.kill(f"it gave no sign of life for {limit:g} s")

    def cancel(self) -> None:
        """End the process if it has work, which nobody wants any more, and start no other."""
        self._cancelled.set()
        worker = self._worker
        if worker is not None and self._state != "idle":
            worker.kill("its work was cancelled")

    def close(self) -> str:
        """End the process, if there is one.

        Returns:
            Why it ended.
        """
        worker, self._worker, self._has_run = self._worker, None, False
        return "there was none" if worker is None else worker.close()
