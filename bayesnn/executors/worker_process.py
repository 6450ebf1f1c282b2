"""One worker process, as its caller sees it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from typing import Any

# a fresh interpreter that finds what the caller finds, and does not run the caller's script again
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from bayesnn.executors.same_end import end_with, ignore_ctrl_c; "
    "ignore_ctrl_c(); end_with(int(sys.argv[5])); "  # before what takes seconds to import
    "from bayesnn.executors.worker_main import main; "
    "main(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))"
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LOOK = 0.5  # seconds between two looks at whether the process lives
_GRACE = 2.0  # seconds that a process has to end by itself


class WorkerProcess:
    """A process that takes items one at a time; see `worker_main` for the messages."""

    def __init__(self, device: str, threads: int) -> None:
        """Start the process; it says ("ready",) when it has come up.

        The thread that calls this has to live as long as the process: see `same_end`.

        Args:
            device: where its work computes.
            threads: of torch and of the libraries under it.
        """
        self._reason: str | None = None
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno()),
                    device, str(threads), str(os.getpid()),
                ],
                pass_fds=[theirs.fileno()],
                env=os.environ | dict.fromkeys(_THREADS, str(threads)),
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, *message: object) -> None:
        """Send a message.

        Raises:
            OSError: the process is gone.
        """
        self._connection.send(message)

    def receive(self) -> tuple[Any, ...]:
        """Wait for a message and return it.

        Returns:
            The message.

        Raises:
            EOFError: the process is gone.
            OSError: likewise.
        """
        while not self._connection.poll(_LOOK):
            # a process started by the work may hold the pipe open, so its end says too little
            if self._process.poll() is not None and not self._connection.poll(0):
                raise EOFError
        message: tuple[Any, ...] = self._connection.recv()
        return message

    def kill(self, reason: str) -> None:
        """End the process at once; `close` then gives this reason."""
        self._reason = reason
        self._process.kill()

    def close(self) -> str:
        """End the process, if it lives, and return why it ended.

        Returns:
            The reason, in words.
        """
        self._connection.close()  # which ends a process that lives
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._reason is not None:
            return self._reason
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"
