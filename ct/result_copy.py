"""Finished slices and states at another address, so that another machine can go on with them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from ct.copied_chunk import FORMAT, VERSION, chunk_name, read_chunk
from ct.partial_result import PartialResult
from ct.result_metadata import Metadata
from ct.state_files import AddressedStateFiles
from ensembles.state_folder import StateFolder, state_folder
from ensembles.tensor_file import DamagedFileError, MissingFileError

_NAME = re.compile(r"slices-(\d{1,9})\.safetensors")


class ResultCopy:
    """A folder, anywhere, with a file `slices-CHUNK.safetensors` for each finished chunk.

    Each file holds a digest of everything in it and says of which work it is. States of chunks in
    work lie beside them. Nothing is removed but states that are no longer needed.

    Attributes:
        states: where chunks in work may leave their state.
        finished: numbers of the chunks that are here.
    """

    def __init__(self, folder: StateFolder, work: Metadata) -> None:
        """See `open_copy`."""
        self.states = AddressedStateFiles(folder)
        self._folder = folder
        self._work = json.loads(json.dumps(work))
        matches = [_NAME.fullmatch(name) for name in folder.names()]
        self.finished = {int(match[1]) for match in matches if match}
        self._complained = False

    def __str__(self) -> str:
        return str(self._folder)

    def bring_back(self, partial: PartialResult) -> None:
        """Put the chunks that are here into a result in the making, where it lacks them.

        Args:
            partial: the result, of the same work.

        Raises:
            ValueError: a file is of other work, of a later version, or cannot be read.
            OSError: the result cannot be written.

        Warns:
            UserWarning: a file is damaged; its slices are made again.
        """
        for chunk in sorted(self.finished - partial.chunks.keys()):
            try:
                found = read_chunk(self._folder, chunk, self._work, partial.shapes)
            except (DamagedFileError, MissingFileError) as error:
                warnings.warn(f"{str(error).rstrip('.')}. Its slices are made again.", stacklevel=2)
                self.finished.discard(chunk)
                continue
            partial.write(chunk, found.first, found.images, found.records)

    def follow(self, partial: PartialResult) -> None:
        """Write the chunks that are not here yet; those that cannot be are tried again next time.

        Args:
            partial: the result in the making.

        Warns:
            UserWarning: a chunk cannot be written; this is said once until writing succeeds.
        """
        for chunk in sorted(partial.chunks.keys() - self.finished):
            first, images = partial.images(chunk)
            content = {"work": self._work, "first": first, "records": partial.chunks[chunk]}
            tensors = {name: torch.from_numpy(values) for name, values in images.items()}
            try:
                self._folder.write(
                    chunk_name(chunk), tensors, content, file_format=FORMAT, version=VERSION
                )
            except ValueError as error:
                if not self._complained:
                    self._complained = True
                    warnings.warn(
                        f"--checkpoint: {str(error).rstrip('.')}. The slices stay beside "
                        f"{partial.output}; work goes on.",
                        stacklevel=2,
                    )
                return
            self._complained = False
            self.finished.add(chunk)


@contextmanager
def open_copy(address: str | None, work: Metadata, *, resume: bool) -> Iterator[ResultCopy | None]:
    """Open the copy at an address; a local folder is locked until the block ends.

    Args:
        address: a folder or an address that fsspec knows; None for none.
        work: all that the numbers depend on.
        resume: whether to go on with what is there.

    Yields:
        The copy; None without an address.

    Raises:
        ValueError: nothing can be read or written there, another process is at it, or there are
            slices or states but `resume` was not asked for.
    """
    if address is None:
        yield None
        return
    if not address.strip():
        raise ValueError("--checkpoint: expected a folder or an address, got an empty one.")
    try:
        folder = state_folder(address)
    except ValueError as error:
        raise ValueError(f"--checkpoint: {error}") from error
    with ExitStack() as until_the_end:
        try:
            until_the_end.enter_context(folder.locked())
        except BlockingIOError:
            raise ValueError(
                f"--checkpoint: another process is writing into {folder}; wait for its end, or "
                "name another folder."
            ) from None
        except OSError as error:
            raise ValueError(
                f"--checkpoint: {folder} cannot be made a folder, or not be written "
                f"({error.strerror or error}); name another folder."
            ) from error
        copy = ResultCopy(folder, work)
        if not resume and (copy.finished or not copy.states.is_empty()):
            raise ValueError(
                f"--checkpoint: {folder} holds slices or states of an earlier run; say --resume to "
                "go on with them, or name another folder."
            )
        yield copy
