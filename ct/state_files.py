"""Files of states by name, the last of each and the one before it: on a disk or at an address."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from ensembles.state_folder import StateFolder
from ensembles.tensor_file import read_tensor_file, write_tensor_file

FORMAT = "bayesnn-ct-state"
VERSION = 1  # raise it whenever older code would misread the files
_BEFORE = "~before."  # no part's name holds ~ or .
_NAME = re.compile(r"state-(?P<part>[\w.-]+)-(?P<count>\d{1,9})\.safetensors")

Reader: TypeAlias = tuple[str, Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]]
"""Where a file is, and what reads it."""


@runtime_checkable
class StateFiles(Protocol):
    """Where states are; a part's name is a path of words with dots between, such as "work.fit"."""

    def write(self, part: str, state: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a part's state, and keep the last one; raises OSError or ValueError."""
        ...

    def readers(self, part: str) -> Iterator[Reader]:
        """Yield readers of a part's states, the last first; raises ValueError out of reach."""
        ...

    def clear(self, part: str | None) -> None:
        """Remove the states of a part and of what is below it, as far as can be; None for all."""
        ...

    def is_empty(self) -> bool:
        """Return whether there is no state, as far as can be known."""
        ...


class LocalStateFiles:
    """A folder that appears with its first state and goes with its last.

    Files are written beside their place and renamed, so that a killed process leaves the last
    state or the one before, whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def write(self, part: str, state: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a part's state, and keep the last one."""
        self._folder.mkdir(exist_ok=True)
        last, before = self._paths(part)
        if last.exists():
            last.replace(before)
        write_tensor_file(last, state, content, file_format=FORMAT, version=VERSION)

    def readers(self, part: str) -> Iterator[Reader]:
        """Yield readers of a part's states, the last first."""
        for path in self._paths(part):
            yield (
                str(path),
                partial(read_tensor_file, path, file_format=FORMAT, version=VERSION),
            )

    def clear(self, part: str | None) -> None:
        """Remove states; the folder goes with the last."""
        if part is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        with suppress(OSError):  # such as a permission that was lost, or states of other parts
            for path in self._folder.glob("*.safetensors"):
                if path.name.replace(_BEFORE, ".").startswith(f"{part}."):
                    path.unlink()
            self._folder.rmdir()

    def is_empty(self) -> bool:
        """Return whether no state is on disk."""
        # a name that begins with a dot is of a file that was being written
        return not any(self._folder.glob("[!.]*.safetensors"))

    def _paths(self, part: str) -> tuple[Path, Path]:
        return self._folder / f"{part}.safetensors", self._folder / f"{part}{_BEFORE}safetensors"


class AddressedStateFiles:
    """States among other files of a folder that may be far away, where nothing can be renamed."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._counts: dict[str, list[int]] = {}  # of each part's files, the last first

    def __str__(self) -> str:
        return str(self._folder)

    def write(self, part: str, state: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a part's state, and keep the last one."""
        counts = self._counts_of(part)
        new = counts[0] + 1 if counts else 1
        self._folder.write(_name(part, new), state, content, file_format=FORMAT, version=VERSION)
        self._counts[part] = [new, *counts][:2]
        for old in counts[1:]:
            self._folder.remove(_name(part, old))

    def readers(self, part: str) -> Iterator[Reader]:
        """Yield readers of a part's states, the last first."""
        for count in self._counts_of(part):
            name = _name(part, count)
            yield (
                f"{self._folder}/{name}",
                partial(self._folder.read, name, file_format=FORMAT, version=VERSION),
            )

    def clear(self, part: str | None) -> None:
        """Remove states, as far as can be."""
        with suppress(ValueError):
            for name in self._folder.names():
                match = _NAME.fullmatch(name)
                if match and (part is None or f"{match['part']}.".startswith(f"{part}.")):
                    self._folder.remove(name)
                    self._counts.pop(match["part"], None)

    def is_empty(self) -> bool:
        """Return whether no state is there, or none can be seen."""
        with suppress(ValueError):
            return not any(_NAME.fullmatch(name) for name in self._folder.names())
        return True

    def _counts_of(self, part: str) -> list[int]:
        if part not in self._counts:
            matches = [_NAME.fullmatch(name) for name in self._folder.names()]
            found = [int(one["count"]) for one in matches if one and one["part"] == part]
            self._counts[part] = sorted(found, reverse=True)
        return self._counts[part]


def _name(part: str, count: int) -> str:
    return f"state-{part}-{count:06d}.safetensors"
