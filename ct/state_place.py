"""Where a worker leaves the state of a slice in work: an address, or beside the output it sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ct import checkpoint_file
from ct.checkpoint import Checkpoint, Forgetful
from ct.partial_result import journal_path, state_path
from ct.result_metadata import Metadata
from ct.state_files import AddressedStateFiles, StateFiles
from ensembles.state_folder import LocalFolder, state_folder

_TOKEN_BYTES = 64  # the digest of the journal's first line


@dataclass(frozen=True, kw_only=True)
class StatePlace:
    """The state's folder of one run, as processes on this and other machines may see it.

    Attributes:
        output: the result file, as an absolute path.
        work: all that the numbers depend on.
        token: what the run's journal begins with.
        seconds: between two writes.
        address: of the states, as fsspec knows it; None for beside the output.
    """

    output: Path
    work: Metadata
    token: bytes
    seconds: float
    address: str | None = None

    def checkpoint(self) -> Checkpoint:
        """Return where to leave states; nowhere, on a machine that does not see that place."""
        files: Path | StateFiles = state_path(self.output)
        must_see_journal = True
        if self.address is not None:
            try:
                folder = state_folder(self.address)
            except ValueError:  # this machine lacks the package for such an address
                return Forgetful()
            files, must_see_journal = AddressedStateFiles(folder), isinstance(folder, LocalFolder)
        if must_see_journal and _token(self.output) != self.token:
            return Forgetful()
        return checkpoint_file.FileCheckpoint(files, work=self.work, seconds=self.seconds)


def state_place(output: Path, work: Metadata, address: str | None = None) -> StatePlace:
    """Return where workers of a run may leave states; its journal has been begun.

    Args:
        output: the result file.
        work: all that the numbers depend on.
        address: of the states; None for beside the output.
    """
    output = output.absolute()
    if address is not None and "://" not in address:
        address = str(Path(address).absolute())
    return StatePlace(
        output=output,
        work=work,
        token=_token(output),
        seconds=checkpoint_file.SECONDS_BETWEEN_SAVES,
        address=address,
    )


def _token(output: Path) -> bytes:
    try:
        with journal_path(output).open("rb") as file:
            return file.read(_TOKEN_BYTES)
    except OSError:
        return b""
