"""A fit on disk: finished members, and the last two states of those in training.

A file that is damaged is named and passed over: training goes on from the state before it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ensembles.checkpoint_files import CheckpointFiles, FileName
from ensembles.tensor_file import DamagedFileError, MissingFileError
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import Trained

GENERATIONS = 2  # states that are kept of the same members
SHARE = 0.05  # of the time, at most, that saving may take


class OpenCheckpoint:
    """What is kept of a fit, and where it goes on."""

    def __init__(
        self, files: CheckpointFiles, *, seconds: float, n_members: int, stop: Callable[[], bool]
    ) -> None:
        """Read what is there, so that whatever has to be refused is refused before any work.

        Args:
            files: where; nobody else writes there.
            seconds: between two states of the members in training.
            n_members: number of members in the end.
            stop: says whether Ctrl-C was pressed.

        Raises:
            ValueError: a file belongs to another fit, is of a newer version, or cannot be read.

        Warns:
            UserWarning: a file is damaged.
        """
        self.seconds = seconds
        self._files, self._n_members = files, n_members
        self._stop = stop
        self._due = time.monotonic() + seconds
        self._complained = False
        self._finished: dict[range, FileName] = {}
        self._unwritten: dict[range, Trained] = {}
        self._states: dict[range, list[FileName]] = {}  # the latest first
        self._latest: dict[range, State] = {}
        self._damaged: dict[FileName, str] = {}
        names = files.names()
        self._last_state = max((name.state or 0 for name in names), default=0)
        for name in names:
            self._look_at(name)
        for name, reason in self._damaged.items():
            if name.members not in self._finished:
                _warn(f"{reason}. {self._instead_of(name)}")

    def n_finished(self) -> int:
        """Return how many members are finished and written."""
        return sum(len(members) for members in self._finished)

    def finished(self) -> tuple[range, ...]:
        """Return the finished members, those that were trained together in one range."""
        return tuple(sorted(self._finished, key=lambda members: members.start))

    def trained(self, members: range, device: torch.device) -> Trained:
        """Return finished members."""
        tensors, content = self._files.read(self._finished[members])
        converged = tensors.pop("converged")
        params = {name.removeprefix("params/"): v.to(device) for name, v in tensors.items()}
        return Trained(params=params, converged=converged, n_steps=content["n_steps"])

    def running(self, first: int) -> range | None:
        """Return the members from `first` on that were trained together when the fit was left."""
        left = [*self._latest, *(name.members for name in self._damaged)]
        return next((members for members in left if members.start == first), None)

    def state(self, members: range, device: torch.device) -> State | None:
        """Return the state of just these members in training, if it is here, and let go of it."""
        state = self._latest.pop(members, None)
        return None if state is None else {k: value.to(device) for k, value in state.items()}

    def save(self, members: range, state: Callable[[], State]) -> None:
        """Write the state of members in training, if it is time to.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the state is written before.
        """
        if self._stop():
            self._keep(members, state())
            raise KeyboardInterrupt
        if time.monotonic() < self._due:
            return
        began = time.monotonic()
        self._keep(members, state())
        took = time.monotonic() - began
        self._due = time.monotonic() + max(self.seconds, took / SHARE)

    def keep(self, members: range, state: State | None) -> None:
        """Write the state of members that are in training elsewhere, if they have sent one.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if state is not None:
            self._keep(members, state)
        if self._stop():
            raise KeyboardInterrupt

    def finish(self, members: range, trained: Trained) -> None:
        """Write trained members, and forget their states; what could not be written is tried again.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        self._unwritten[members] = trained
        for which, result in tuple(self._unwritten.items()):
            name = FileName(members=which, state=None)
            tensors = {f"params/{key}": value for key, value in result.params.items()}
            tensors["converged"] = result.converged
            if self._write(name, tensors, {"n_steps": result.n_steps}):
                self._finished[which] = name
                del self._unwritten[which]
                self._forget(which)
        if self._stop():
            raise KeyboardInterrupt

    def said(self) -> str:
        """Return what is kept, as a sentence."""
        states = sorted(self._states, key=lambda members: members.start)
        left = "".join(f", those of members {_said(one)} are kept in training" for one in states)
        return (
            f"{self.n_finished()} of {self._n_members} members are finished in {self._files}"
            f"{left}; the same call goes on from there."
        )

    def _look_at(self, name: FileName) -> None:
        """Take note of a file: of states of the same members, the latest that is whole is read."""
        if name.state is not None and name.members in self._finished:
            self._files.remove(name)  # the process was killed before it did
            return
        if name.members in self._latest:
            self._states[name.members].append(name)
            return
        try:
            tensors, _ = self._files.read(name)
        except DamagedFileError as error:
            self._damaged[name] = str(error).rstrip(".")
            return
        except MissingFileError:
            return  # whoever writes where no lock can be, such as in a bucket, has a later one
        if name.state is None:
            self._finished[name.members] = name
        else:
            self._states[name.members] = [name]
            self._latest[name.members] = tensors

    def _instead_of(self, name: FileName) -> str:
        if name.members in self._states:
            return f"The state before it is used, {self._states[name.members][0]}."
        return f"Members {_said(name.members)} are trained anew."

    def _keep(self, members: range, state: State) -> None:
        self._last_state += 1
        name = FileName(members=members, state=self._last_state)
        if self._write(name, state, {}):
            states = [name, *self._states.get(members, ())]
            self._states[members] = states[:GENERATIONS]
            for old in states[GENERATIONS:]:
                self._files.remove(old)

    def _forget(self, finished: range) -> None:
        """Remove what finished members were before."""
        for members in [one for one in self._states if _overlap(one, finished)]:
            for name in self._states.pop(members):
                self._files.remove(name)
        for name in [one for one in self._damaged if _overlap(one.members, finished)]:
            del self._damaged[name]
            if name not in self._finished.values():  # else it has been replaced
                self._files.remove(name)

    def _write(self, name: FileName, tensors: State, content: Mapping[str, Any]) -> bool:
        """Return whether it could be written: training goes on without."""
        try:
            self._files.write(name, tensors, content)
        except ValueError as error:
            if not self._complained:
                self._complained = True
                _warn(
                    f"{str(error).rstrip('.')}. Training goes on; until writing succeeds, an "
                    "interruption would lose what it does from now on."
                )
            return False
        self._complained = False
        return True


def _warn(message: str) -> None:
    warnings.warn(f"checkpoint: {message}", stacklevel=5)


def _said(members: range) -> str:
    return f"{members.start}" if len(members) == 1 else f"{members.start}–{members.stop - 1}"


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
