"""States of long work in files: what an interruption of any kind finds again."""

from __future__ import annotations

import hashlib
import json
import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ct.state_files import LocalStateFiles, StateFiles
from ensembles.tensor_file import MissingFileError

SECONDS_BETWEEN_SAVES = 20.0
_MOST_SECONDS = 50.0  # between saves, however long they take: an interruption loses no more
SHARE = 0.05  # of the time, at most, that saving may take until then
_WHOLE = "work"


class FileCheckpoint:
    """A `ct.checkpoint.Checkpoint` in a folder: one safetensors file for each part of the work.

    The state before the last is kept for the case that the last cannot be read. Each file holds a
    digest of its numbers and says what work it belongs to; a state of other work is never loaded.
    All parts together write at most once in `seconds`, less often where writing takes long: `due`
    is true that long after the last time. A state that is saved earlier, such as that of a part
    that is done, waits in memory for the next write, or for `flush`.
    """

    def __init__(
        self,
        folder: Path | StateFiles,
        *,
        work: Any,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a folder, which is made when the first state is written.

        Args:
            folder: where the files are; nothing else should be in a path.
            work: all that the numbers depend on, as JSON can hold it.
            seconds: between two writes; None for `SECONDS_BETWEEN_SAVES`.
            clock: tells the time in seconds.
        """
        every = SECONDS_BETWEEN_SAVES if seconds is None else seconds
        text = json.dumps(work, sort_keys=True)
        work_digest = hashlib.sha256(text.encode()).hexdigest()
        files = LocalStateFiles(folder) if isinstance(folder, Path) else folder
        self._store = _Store(
            files=files, work=work_digest, seconds=every, clock=clock, written=clock(), wait=every
        )
        self._name = _WHOLE

    def due(self) -> bool:
        """Return whether the last write is long enough ago."""
        return self._store.due()

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Copy the state to the CPU, and write it, now if that is due."""
        self._store.waiting[self._name] = {
            name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()
        }
        if self.due():
            self.flush()

    def load(self) -> dict[str, Tensor] | None:
        """Return the last state of this part and this work; None where there is none.

        Warns:
            UserWarning: a state cannot be used, and why; the one before it is used, if it can be.
        """
        waiting = self._store.waiting.get(self._name)
        return self._store.read(self._name) if waiting is None else dict(waiting)

    def part(self, name: str) -> FileCheckpoint:
        """Return the place of a part, whose name is of letters, digits, - and _.

        Raises:
            ValueError: another name.
        """
        if re.fullmatch(r"[\w-]+", name) is None:
            raise ValueError(f"part: expected a name of letters, digits, - and _, got {name!r}.")
        part = object.__new__(FileCheckpoint)
        part._store = self._store
        part._name = f"{self._name}.{name}"
        return part

    def flush(self) -> None:
        """Write what waits in memory.

        Warns:
            UserWarning: it cannot be written, which is said once; work goes on without.
        """
        self._store.write()

    def clear(self) -> None:
        """Forget the state of this part and of all parts of it."""
        self._store.clear(self._name)

    def is_empty(self) -> bool:
        """Return whether no state is in a file."""
        return self._store.files.is_empty()


@dataclass
class _Store:
    """What all parts share."""

    files: StateFiles
    work: str
    seconds: float
    clock: Callable[[], float]
    written: float
    wait: float
    waiting: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    complained: bool = False

    def due(self) -> bool:
        return self.clock() - self.written >= self.wait

    def write(self) -> None:
        began = self.clock()
        try:
            for name in list(self.waiting):
                self.files.write(name, self.waiting[name], {"work": self.work})
                del self.waiting[name]
        except (OSError, ValueError) as error:
            if not self.complained:
                self.complained = True
                warnings.warn(
                    f"{self.files}: the state cannot be saved ({str(error).rstrip('.')}); an "
                    "interruption would lose the slice in work.",
                    stacklevel=2,
                )
        self.written = self.clock()
        took = self.written - began
        self.wait = max(self.seconds, min(took / SHARE, _MOST_SECONDS))

    def read(self, name: str) -> dict[str, Tensor] | None:
        refused: list[str] = []
        try:
            for reader in self.files.readers(name):
                try:
                    state = self._read(*reader)
                except MissingFileError:
                    continue
                except ValueError as error:
                    refused.append(str(error).rstrip("."))
                else:
                    _say_refused(refused, "the state before it is used")
                    return state
        except ValueError as error:  # an address that does not answer
            refused.append(str(error).rstrip("."))
        _say_refused(refused, "this part of the work begins anew")
        return None

    def clear(self, name: str) -> None:
        """Forget a part and what is below it."""
        for waiting in [one for one in self.waiting if f"{one}.".startswith(f"{name}.")]:
            del self.waiting[waiting]
        self.files.clear(None if name == _WHOLE else name)

    def _read(self, where: str, read: Callable[[], Any]) -> dict[str, Tensor]:
        tensors, content = read()
        if content.get("work") != self.work:
            raise ValueError(f"{where}: it is of another run.")
        state: dict[str, Tensor] = tensors
        return state


def _say_refused(reasons: list[str], then: str) -> None:
    if reasons:
        warnings.warn(f"state refused: {'; '.join(reasons)}; {then}.", stacklevel=2)
