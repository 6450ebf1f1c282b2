"""Interrupted fits that go on: finished members, and the state of those in training, on disk.

A checkpoint is a folder. `members-FIRST-LAST.safetensors` holds trained members,
`training.safetensors` the state of those in training. Every file is written whole or not at all,
holds a digest of its numbers, and says which fit it belongs to.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bayesnn.checks import check_positive
from ensembles.tensor_file import read_tensor_file, write_tensor_file
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import Trained

_FORMAT = "bayesnn-training"
_VERSION = 1  # raise it whenever older code would misread the files
_RUNNING = "training.safetensors"
SHARE = 0.05  # of the time, at most, that saving may take


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a fit is kept, and how often; build it with `checkpoint_at()`, or pass the path alone.

    Attributes:
        path: the folder; it is made where it is missing.
        seconds: between two states of the members in training.
    """

    path: Path
    seconds: float = 30.0


def checkpoint_at(path: str | os.PathLike[str], *, seconds: float = 30.0) -> Checkpoint:
    """Return where to keep a fit, so that one which was interrupted goes on.

    Args:
        path: a folder, of this fit alone; it is made where it is missing.
        seconds: between two states of the members in training; longer where saving takes long.

    Returns:
        What `fit_members(checkpoint=...)` takes.

    Raises:
        ValueError: seconds that are not positive.

    Example:
        >>> checkpoint_at("fit.checkpoint", seconds=60).seconds
        60.0
    """
    return Checkpoint(path=Path(path), seconds=check_positive(seconds, "seconds"))


class OpenCheckpoint:
    """The folder of one fit, named by the digests of all that its result depends on."""

    def __init__(self, checkpoint: Checkpoint, identity: Mapping[str, str]) -> None:
        """Open or make the folder, and read which members are finished.

        Args:
            checkpoint: where.
            identity: a digest for each thing that the fit depends on.

        Raises:
            ValueError: the folder belongs to another fit, or a file in it is damaged.
        """
        self._folder, self._seconds = checkpoint.path, checkpoint.seconds
        self._identity = dict(identity)
        self._due = time.monotonic() + self._seconds
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"checkpoint: {self._folder} cannot be made a folder ({error.strerror})."
            ) from error
        ranges = [
            (range(*content["members"]), path)
            for path in self._folder.glob("members-*.safetensors")
            for _, content in [self._read(path)]
        ]
        self._finished = dict(sorted(ranges, key=lambda pair: pair[0].start))
        running = self._folder / _RUNNING
        # read now, so that a damaged file is refused before any work
        self._running = self._read(running) if running.exists() else None

    def finished(self) -> tuple[range, ...]:
        """Return the finished members, those that were trained together in one range."""
        return tuple(self._finished)

    def trained(self, numbers: range, device: torch.device) -> Trained:
        """Return finished members."""
        tensors, content = self._read(self._finished[numbers])
        converged = tensors.pop("converged")
        params = {name.removeprefix("params/"): v.to(device) for name, v in tensors.items()}
        return Trained(params=params, converged=converged, n_steps=content["n_steps"])

    def running(self, first: int) -> range | None:
        """Return the members from `first` on that were in training when the fit was left."""
        if self._running is None:
            return None
        numbers = range(*self._running[1]["members"])
        return numbers if numbers.start == first else None

    def state(self, numbers: range, device: torch.device) -> State | None:
        """Return the state of just these members in training, if it is here."""
        if self._running is None or self.running(numbers.start) != numbers:
            return None
        return {name: value.to(device) for name, value in self._running[0].items()}

    def save(self, numbers: range, state: Callable[[], State]) -> None:
        """Write the state of members in training, if it is time to."""
        if time.monotonic() < self._due:
            return
        began = time.monotonic()
        self._write(self._folder / _RUNNING, state(), {"members": [numbers.start, numbers.stop]})
        took = time.monotonic() - began
        self._due = time.monotonic() + max(self._seconds, took / SHARE)

    def finish(self, numbers: range, trained: Trained) -> None:
        """Write trained members, and forget their state."""
        path = self._folder / f"members-{numbers.start}-{numbers.stop - 1}.safetensors"
        tensors = {f"params/{name}": value for name, value in trained.params.items()}
        content = {"members": [numbers.start, numbers.stop], "n_steps": trained.n_steps}
        self._write(path, tensors | {"converged": trained.converged}, content)
        self._finished[numbers] = path
        (self._folder / _RUNNING).unlink(missing_ok=True)
        self._running = None

    def _write(self, path: Path, tensors: State, content: Mapping[str, Any]) -> None:
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        described = {**content, "identity": self._identity}
        described["digest"] = digest([plain, described])
        write_tensor_file(path, plain, described, file_format=_FORMAT, version=_VERSION)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        advice = f"delete {self._folder} to start anew, or name another folder."
        try:
            tensors, content = read_tensor_file(path, file_format=_FORMAT, version=_VERSION)
        except ValueError as error:
            raise ValueError(f"checkpoint: {error} To go on, {advice}") from error
        if content.pop("digest", "") != digest([tensors, content]):
            raise ValueError(f"checkpoint: {path} is damaged: its digest does not fit; {advice}")
        found = content["identity"]
        differing = [name for name, value in self._identity.items() if found.get(name) != value]
        if differing:
            raise ValueError(
                f"checkpoint: {path} belongs to a fit with other {', '.join(differing)}; {advice}"
            )
        return tensors, content


def digest(value: object) -> str:
    """Return a digest of data and settings: tensors bit by bit, dataclasses field by field.

    Functions count by their names, other objects by their types.
    """
    hasher = hashlib.sha256()
    _feed(hasher, value)
    return hasher.hexdigest()


def _feed(hasher: Any, value: object) -> None:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        hasher.update(f"tensor {plain.dtype} {tuple(plain.shape)}".encode())
        if plain.numel():
            hasher.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            hasher.update(f"key {name!s} ".encode())
            _feed(hasher, value[name])
    elif isinstance(value, list | tuple):
        hasher.update(f"sequence {len(value)} ".encode())
        for part in value:
            _feed(hasher, part)
    elif value is None or isinstance(value, bool | int | float | str | bytes | torch.dtype):
        hasher.update(f"plain {value!r} ".encode())
    elif callable(value) and hasattr(value, "__qualname__"):
        hasher.update(f"function {value.__module__}.{value.__qualname__} ".encode())
    else:
        hasher.update(f"object {type(value).__module__}.{type(value).__qualname__} ".encode())
        held = [field.name for field in fields(value)] if is_dataclass(value) else []
        for name in held:
            hasher.update(f"field {name} ".encode())
            _feed(hasher, getattr(value, name))
