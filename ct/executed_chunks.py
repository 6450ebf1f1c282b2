"""Chunks of slices as pieces of work for an executor: read here, reconstructed elsewhere."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import overload

from bayesnn.executors.protocol import Context, Executor
from ct.chunk import Chunk, ChunkWork
from ct.data.measured import Measured
from ct.data.scan_input import ScanInput
from ct.executed_pieces import Said, executed_pieces, with_warnings
from ct.remote_solver import RemoteSolver, remote_solver, reporting
from ct.slice_tally import SliceTally
from ct.slices import SliceSolver
from ct.state_place import StatePlace


def executed_chunks(
    executor: Executor,
    source: ScanInput,
    solver: SliceSolver,
    work: ChunkWork,
    chunks: dict[int, list[int]],
    *,
    state: StatePlace,
    tally: SliceTally,
) -> Generator[tuple[int, Chunk], None, None]:
    """Reconstruct chunks of slices by an executor.

    Each slice is read in this process when a worker is free for it and travels with its task, so
    that no worker needs the scan's files and memory does not grow with the number of slices.

    Args:
        executor: whose workers take the chunks.
        source: the scan.
        solver: what all slices share; each worker gets it once.
        work: what is done with each chunk.
        chunks: numbers of the slices of each chunk, by its number.
        state: where workers may leave the state of chunks in work.
        tally: told what is in work.

    Yields:
        A chunk's number and its images, as they come.
    """
    order = list(chunks)

    def heard(number: int, share: object) -> None:
        if isinstance(share, float):
            tally.in_work(order[number], share * len(chunks[order[number]]))

    with closing(
        executed_pieces(
            executor,
            solve_piece,
            _Pieces(source, list(chunks.values())),
            shared=SharedWork(solver=remote_solver(solver), work=work, state=state),
            solver=solver,
            heard=heard,
        )
    ) as results:
        for number, chunk in results:
            yield order[number], chunk


@dataclass(frozen=True, kw_only=True)
class SharedWork:
    """What all pieces of a run share.

    Attributes:
        solver: method and geometry.
        work: what is done with each chunk.
        state: where the state of a chunk in work may be left.
    """

    solver: RemoteSolver
    work: ChunkWork
    state: StatePlace


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A chunk of slices to reconstruct.

    Attributes:
        numbers: the slices' numbers in the scan, one after the other.
        measured: their measurements.
    """

    numbers: list[int]
    measured: list[Measured]


def solve_piece(shared: SharedWork, piece: Piece, context: Context) -> tuple[Chunk, Said]:
    """Reconstruct a chunk in a worker.

    Args:
        shared: what all pieces share.
        piece: the chunk.
        context: where to compute, and whom to tell how far it is.

    Returns:
        Its images, and what was warned of.
    """
    return with_warnings(
        lambda: shared.work.solve(
            shared.solver.here(context.device),
            piece.numbers,
            piece.measured,
            checkpoint=shared.state.checkpoint(),
            progress=reporting(context),
        )
    )


class _Pieces(Sequence[Piece]):
    """The chunks, each read when it is asked for."""

    def __init__(self, source: ScanInput, chunks: Sequence[list[int]]) -> None:
        self._source, self._chunks = source, chunks

    def __len__(self) -> int:
        return len(self._chunks)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> _Pieces: ...
    def __getitem__(self, index: int | slice) -> Piece | _Pieces:
        if isinstance(index, slice):
            return _Pieces(self._source, self._chunks[index])
        numbers = self._chunks[index]
        return Piece(numbers=numbers, measured=[self._source.read(number) for number in numbers])
