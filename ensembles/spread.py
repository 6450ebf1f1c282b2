"""Members trained by an executor's workers, some at a time; results are taken as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from bayesnn.executors import Executor, Needs
from ensembles.chunks import evenly
from ensembles.member_training import MemberTraining, Part
from ensembles.open_checkpoint import OpenCheckpoint
from ensembles.piece import CPU, Piece, Shared, Told, part_on, train_piece
from ensembles.progress import Callback


def train_elsewhere(
    executor: Executor,
    training: MemberTraining,
    take: Callable[[int, Part], None],
    *,
    first: int,
    n_members: int,
    tell: Sequence[Callback],
    finished: Callable[[range], None],
    checkpoint: OpenCheckpoint | None,
) -> None:
    """Train members first … n_members − 1 with an executor.

    Args:
        executor: where.
        training: of any members.
        take: takes the number of a chunk's first member and the chunk, on the training's device.
        first: number of the first member that is trained.
        n_members: number of members.
        tell: who hears of steps, and may stop a piece's training by returning True.
        finished: hears of members that are trained.
        checkpoint: where members and states are kept, as they come; None for nowhere.
    """
    device = training.x.device
    earlier: tuple[range, ...] = ()
    if checkpoint is not None:
        earlier = checkpoint.finished()
        for numbers in earlier:
            take(numbers.start, training.read(numbers, checkpoint.trained(numbers, device)))
            finished(numbers)
    at_once = max(1, training.at_once(executor.device_type or device.type))
    needs = _needs(training, at_once)
    # of all members, not of those that are missing: pieces decide the last bit of a result
    each = -(-(n_members - first) // executor.n_workers(needs))
    size = evenly(n_members - first, min(at_once, each))
    missing = _gaps(range(first, n_members), earlier)
    pieces = [piece for gap in missing for piece in _pieces(gap, size, checkpoint)]

    shared = Shared(
        training=training if executor.device_type is None else training.on(CPU),
        n_members=n_members,
        seconds=None if checkpoint is None else checkpoint.seconds,
    )
    with closing(
        executor.run(
            train_piece,
            pieces,
            shared=shared,
            needs=needs,
            heard=_Listener(pieces, tell, checkpoint),
        )
    ) as results:
        for number, done in results:
            for message in done.said:
                warnings.warn(message, RuntimeWarning, stacklevel=4)
            start = pieces[number].numbers.start
            pieces[number] = replace(pieces[number], state=None)
            finished(pieces[number].numbers)
            for shift, trained, finite in done.parts:
                if checkpoint is not None:
                    checkpoint.finish(range(start, start + len(finite)), trained)
                take(start, part_on(device, (shift, trained, finite)))
                start += len(finite)


class _Listener:
    """Hears of the steps of all pieces."""

    def __init__(
        self, pieces: list[Piece], tell: Sequence[Callback], checkpoint: OpenCheckpoint | None
    ) -> None:
        self._pieces, self._tell, self._checkpoint = pieces, tell, checkpoint

    def __call__(self, number: int, told: object) -> bool:
        """Keep the state, if one was sent, and tell of the step.

        Returns:
            Whether somebody asks to stop.
        """
        if not isinstance(told, Told):  # nothing else is said
            raise TypeError(f"training: expected a step, heard {told!r}.")
        members = told.progress.members
        numbers = range(members[0], members[-1] + 1)
        piece = self._pieces[number]
        if told.state is not None and numbers == piece.numbers:
            self._pieces[number] = replace(piece, state=told.state)  # if it must be tried again
        if self._checkpoint is not None:
            self._checkpoint.keep(numbers, told.state)
        answers = [tell(told.progress) for tell in self._tell]  # all of them hear of it
        return any(answers)


def _gaps(wanted: range, finished: Sequence[range]) -> list[range]:
    """Return what is left of a range."""
    gaps, first = [], wanted.start
    for done in (*finished, range(wanted.stop, wanted.stop)):
        if first < done.start:
            gaps.append(range(first, done.start))
        first = max(first, done.stop)
    return gaps


def _pieces(gap: range, size: int, checkpoint: OpenCheckpoint | None) -> list[Piece]:
    """Return a gap in pieces of a size; those that were in training go on as they were."""
    pieces, first = [], gap.start
    while first < gap.stop:
        numbers, state = range(first, min(first + size, gap.stop)), None
        left = None if checkpoint is None else checkpoint.running(first)
        if checkpoint is not None and left is not None and left.stop <= gap.stop:
            numbers, state = left, checkpoint.state(left, CPU)
        pieces.append(Piece(numbers=numbers, state=state))
        first = numbers.stop
    return pieces


def _needs(training: MemberTraining, at_once: int) -> Needs:
    held = (training.x, training.y)
    data = sum(tensor.numel() * tensor.element_size() for tensor in held)
    return Needs(memory=2 * data + at_once * training.bytes_per_member)
