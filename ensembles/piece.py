"""A few members of a fit, trained by a worker that knows nothing of the others."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bayesnn.executors import Context
from ensembles.chunks import train_in_chunks
from ensembles.member_training import MemberTraining, Part
from ensembles.open_checkpoint import SHARE
from ensembles.progress import Progress
from ensembles.trainers.monitor import State
from ensembles.trainers.problem import Trained

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What all workers need.

    Attributes:
        training: of any members, on the CPU unless it stays in this process.
        n_members: members of the whole ensemble.
        seconds: between two states that are sent; None for none.
    """

    training: MemberTraining
    n_members: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Members that are trained together.

    Attributes:
        numbers: theirs.
        state: where their training goes on; None to start.
    """

    numbers: range
    state: State | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a worker says of a step.

    Attributes:
        progress: how far it is.
        state: after the step, where it is time to keep it.
    """

    progress: Progress
    state: State | None


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a worker makes of a piece, on the CPU.

    Attributes:
        parts: its members; several where memory ran out.
        said: warnings of the training.
    """

    parts: list[Part]
    said: list[str]


def train_piece(shared: Shared, piece: Piece, context: Context) -> Done:
    """Train some members: what a worker does.

    Args:
        shared: what all pieces share.
        piece: which members.
        context: where, and how to report.

    Returns:
        The members, on the CPU.
    """
    device = context.device or shared.training.x.device
    training = shared.training.on(device)
    kept = _PieceState(piece, shared.seconds)

    def tell(progress: Progress) -> bool:
        return context.report(
            lambda: Told(
                progress=replace(
                    progress,
                    n_members=shared.n_members,
                    losses=progress.losses.detach().cpu().clone(),
                ),
                state=kept.taken(),
            )
        )

    parts: list[Part] = []
    with warnings.catch_warnings(record=True) as caught:
        train_in_chunks(
            training.train,
            training.read,
            lambda _, part: parts.append(part_on(CPU, part)),
            first=piece.numbers.start,
            n_members=piece.numbers.stop,
            at_once=training.at_once(device.type),
            device=device,
            tell=[tell],
            checkpoint=kept,
        )
    said = [str(one.message) for one in caught if issubclass(one.category, RuntimeWarning)]
    return Done(parts=parts, said=said)


class _PieceState:
    """The state of one piece: the one to go on from, and the one that is next to be sent."""

    def __init__(self, piece: Piece, seconds: float | None) -> None:
        self._piece, self._seconds = piece, seconds
        self._due = time.monotonic() + (seconds or 0.0)
        self._next: State | None = None

    def finished(self) -> tuple[range, ...]:
        """Return that nothing is."""
        return ()

    def trained(self, members: range, device: torch.device) -> Trained:  # noqa: ARG002
        """Raise KeyError: nothing is."""
        raise KeyError(members)

    def running(self, first: int) -> range | None:
        """Return the members whose training goes on."""
        numbers = self._piece.numbers
        return numbers if self._piece.state is not None and first == numbers.start else None

    def state(self, members: range, device: torch.device) -> State | None:
        """Return the state of just these members."""
        state = self._piece.state
        if state is None or members != self._piece.numbers:
            return None
        return {name: value.to(device, copy=True) for name, value in state.items()}

    def save(self, members: range, state: Callable[[], State]) -> None:  # noqa: ARG002
        """Take a state to be sent, if it is time to."""
        if self._seconds is not None and time.monotonic() >= self._due:
            began = time.monotonic()
            # copied now: it waits to be sent, and training goes on in the same memory
            self._next = {
                name: value.detach().to(CPU, copy=True) for name, value in state().items()
            }
            took = time.monotonic() - began
            self._due = time.monotonic() + max(self._seconds, took / SHARE)

    def finish(self, members: range, trained: Trained) -> None:
        """Do nothing: the result is sent."""

    def taken(self) -> State | None:
        """Return the state that is to be sent, once."""
        state, self._next = self._next, None
        return state


def part_on(device: torch.device, part: Part) -> Part:
    """Return members on a device, with memory of their own."""
    shift, trained, finite = part
    moved = {
        name: {key: _own(value, device) for key, value in params.items()}
        for name, params in shift.items()
    }
    params = {name: _own(value, device) for name, value in trained.params.items()}
    converged = _own(trained.converged, device)
    return moved, replace(trained, params=params, converged=converged), _own(finite, device)


def _own(value: Tensor, device: torch.device = CPU) -> Tensor:
    """Return a tensor on a device, with memory of its own: a view would be sent with the whole."""
    value = value.detach().to(device)
    whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
    return value if whole else value.clone()
