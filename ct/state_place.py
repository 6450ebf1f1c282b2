"""Where a worker leaves the state of a slice in work: beside the output, where it sees that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ct import checkpoint_file
from ct.checkpoint import Checkpoint, Forgetful
from ct.partial_result import journal_path, state_path
from ct.result_metadata import Metadata

_TOKEN_BYTES = 64  # the digest of the journal's first line


@dataclass(frozen=True, kw_only=True)
class StatePlace:
    """The state's folder of one run, as processes on this and other machines may see it.

    Attributes:
        output: the result file, as an absolute path.
        work: all that the numbers depend on.
        token: what the run's journal begins with.
        seconds: between two writes.
    """

    output: Path
    work: Metadata
    token: bytes
    seconds: float

    def checkpoint(self) -> Checkpoint:
        """Return where to leave states; nowhere, on a machine that does not see the journal."""
        if _token(self.output) != self.token:
            return Forgetful()
        return checkpoint_file.FileCheckpoint(
            state_path(self.output), work=self.work, seconds=self.seconds
        )


def state_place(output: Path, work: Metadata) -> StatePlace:
    """Return where workers of a run may leave states; its journal has been begun.

    Args:
        output: the result file.
        work: all that the numbers depend on.
    """
    output = output.absolute()
    return StatePlace(
        output=output,
        work=work,
        token=_token(output),
        seconds=checkpoint_file.SECONDS_BETWEEN_SAVES,
    )


def _token(output: Path) -> bytes:
    try:
        with journal_path(output).open("rb") as file:
            return file.read(_TOKEN_BYTES)
    except OSError:
        return b""
