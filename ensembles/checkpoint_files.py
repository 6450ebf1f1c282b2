"""The files of a checkpoint: their names, what each says of itself, and how they are refused.

`members-FIRST-LAST.safetensors` holds trained members, `training-FIRST-LAST-NUMBER.safetensors` a
state of members in training. Every file holds a digest of its contents and says which fit it
belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ensembles.state_folder import StateFolder
from ensembles.tensor_file import DamagedFileError, MissingFileError

_FORMAT = "bayesnn-training"
_VERSION = 2  # raise it whenever older code would misread the files
_AS_TYPED = {"loss": "loss (noise_std, likelihood)", "seed": "seed (random_state)"}
_NAME = re.compile(r"(?:members|training)-(\d{1,9})-(\d{1,9})(?:-(\d{1,9}))?\.safetensors")


@dataclass(frozen=True, kw_only=True)
class FileName:
    """What the name of a file says.

    Attributes:
        members: the numbers of those in it.
        state: number of the state, from 1; None for trained members.
    """

    members: range
    state: int | None

    def __str__(self) -> str:
        place = f"{self.members.start}-{self.members.stop - 1}"
        if self.state is None:
            return f"members-{place}.safetensors"
        return f"training-{place}-{self.state:06d}.safetensors"


class CheckpointFiles:
    """The files of one fit in a folder, named by the digests of all that its result depends on."""

    def __init__(self, folder: StateFolder, identity: Mapping[str, str]) -> None:
        self._folder = folder
        self._identity = dict(identity)

    def __str__(self) -> str:
        return str(self._folder)

    def names(self) -> list[FileName]:
        """Return what is there: trained members first, then states, the latest first."""
        found = [_parsed(name) for name in self._folder.names()]
        ours = [name for name in found if name is not None]
        return sorted(ours, key=lambda name: (name.state is not None, -(name.state or 0)))

    def read(self, name: FileName) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return a file's tensors and what is said of them.

        Raises:
            DamagedFileError: the file is damaged.
            MissingFileError: it is not there, or no longer.
            ValueError: it belongs to another fit, is of a newer version, or cannot be read.
        """
        try:
            tensors, content = self._folder.read(str(name), file_format=_FORMAT, version=_VERSION)
        except (DamagedFileError, MissingFileError):
            raise
        except ValueError as error:
            raise ValueError(f"checkpoint: {error} Name another folder to start anew.") from error
        identity = content.get("identity")
        if not isinstance(identity, dict) or content.get("members") != _ends(name.members):
            raise DamagedFileError(f"{self}: {name} does not hold what it is named by.")
        differing = [
            _AS_TYPED.get(key, key)
            for key, value in self._identity.items()
            if identity.get(key) != value
        ]
        if differing:
            raise ValueError(
                f"checkpoint: {name} in {self} belongs to a fit with other "
                f"{', '.join(differing)}; delete {self} to start anew, or name another folder."
            )
        return tensors, content

    def write(
        self, name: FileName, tensors: Mapping[str, Tensor], content: Mapping[str, Any]
    ) -> None:
        """Write a file.

        Raises:
            ValueError: that is not possible.
        """
        described = {**content, "members": _ends(name.members), "identity": self._identity}
        self._folder.write(str(name), tensors, described, file_format=_FORMAT, version=_VERSION)

    def remove(self, name: FileName) -> None:
        """Remove a file, if that can be."""
        self._folder.remove(str(name))


def _parsed(name: str) -> FileName | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    first, last, state = match.groups()
    parsed = FileName(
        members=range(int(first), int(last) + 1), state=None if state is None else int(state)
    )
    # what only looks like ours is left alone
    return parsed if str(parsed) == name and len(parsed.members) else None


def _ends(members: range) -> list[int]:
    return [members.start, members.stop]
