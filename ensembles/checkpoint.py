"""Where a fit is kept while it runs, so that one which was interrupted goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bayesnn.checks import check_positive
from ensembles.checkpoint_files import CheckpointFiles
from ensembles.ctrl_c import ctrl_c_waits
from ensembles.open_checkpoint import OpenCheckpoint
from ensembles.state_folder import StateFolder, state_folder


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a fit is kept, and how often; build it with `checkpoint_at()`, or pass the path alone.

    Attributes:
        path: the folder, or its address; it is made where it is missing.
        seconds: between two states of the members in training.
    """

    path: str | os.PathLike[str]
    seconds: float = 30.0


def checkpoint_at(path: str | os.PathLike[str], *, seconds: float = 30.0) -> Checkpoint:
    """Return where to keep a fit, so that one which was interrupted goes on.

    Args:
        path: a folder, of this fit alone, or an address of fsspec such as `s3://bucket/fit`; it is
            made where it is missing.
        seconds: between two states of the members in training; longer where saving takes long.

    Returns:
        What `fit_members(checkpoint=...)` takes.

    Raises:
        ValueError: seconds that are not positive, or an empty path.

    Example:
        >>> checkpoint_at("fit.checkpoint", seconds=60).seconds
        60.0
    """
    if not os.fspath(path):  # which would be the folder that the process is in
        raise ValueError("checkpoint: expected a folder or an address, got an empty text.")
    return Checkpoint(path=path, seconds=check_positive(seconds, "seconds"))


@contextmanager
def open_checkpoint(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    identity: Mapping[str, str],
    *,
    members: range,
) -> Iterator[OpenCheckpoint]:
    """Lock the folder of a fit and read what is there; while it is open, Ctrl-C waits once.

    Args:
        checkpoint: where.
        identity: a digest for each thing that the fit depends on.
        members: all that are to be trained.

    Yields:
        The checkpoint. On Ctrl-C it keeps the members in training after their step and raises
        KeyboardInterrupt, with a note of what is kept; pressed again, Ctrl-C ends at once.

    Raises:
        ValueError: another process trains into the folder, it belongs to another fit, a file in it
            is of a newer version, or it cannot be written although members are missing.
        KeyboardInterrupt: Ctrl-C.

    Warns:
        UserWarning: a file is damaged; the state before it is used.
    """
    where = checkpoint if isinstance(checkpoint, Checkpoint) else checkpoint_at(checkpoint)
    folder = state_folder(where.path)
    with ExitStack() as until_the_end:
        refusal = _lock(folder, until_the_end)
        stop = until_the_end.enter_context(ctrl_c_waits())
        files = CheckpointFiles(folder, identity)
        kept = OpenCheckpoint(files, seconds=where.seconds, n_members=len(members), stop=stop)
        if refusal is not None and kept.n_finished() < len(members):
            raise ValueError(
                f"checkpoint: {folder} cannot be made a folder, or not be written "
                f"({refusal.strerror or refusal}); name another folder."
            ) from refusal
        try:
            yield kept
        except KeyboardInterrupt as end:
            end.add_note(f"checkpoint: {kept.said()}")
            raise


def _lock(folder: StateFolder, until_the_end: ExitStack) -> OSError | None:
    """Lock the folder.

    Returns:
        Why nothing can be written there, if so: a finished fit is only read.
    """
    try:
        until_the_end.enter_context(folder.locked())
    except BlockingIOError:
        raise ValueError(
            f"checkpoint: another process is training into {folder}; wait for its end, or name "
            "another folder."
        ) from None
    except OSError as error:
        return error
    return None
