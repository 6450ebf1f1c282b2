"""Pieces of a reconstruction in an executor's workers: what they need, and what they warn of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeAlias, TypeVar

from bayesnn.executors.protocol import Executor, Heard, Needs, Work
from ct.slices import SliceSolver

_PROCESS_BYTES = 2**30
"""What a process takes before its first slice, roughly: torch and what it brings."""

Said: TypeAlias = list[tuple[type[Warning], str]]
Shared = TypeVar("Shared")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


def executed_pieces(
    executor: Executor,
    work: Work[Shared, Piece, tuple[Result, Said]],
    pieces: Sequence[Piece],
    *,
    shared: Shared,
    solver: SliceSolver,
    heard: Heard,
) -> Generator[tuple[int, Result], None, None]:
    """Run pieces of a reconstruction; each is read from `pieces` when a worker is free for it.

    Args:
        executor: whose workers take the pieces.
        work: what is done with a piece; `with_warnings` makes what it returns.
        pieces: what to do.
        shared: what all pieces need; each worker gets it once.
        solver: how slices are reconstructed, from which follows what a worker needs.
        heard: takes what work reports.

    Yields:
        A piece's number and its result, as they come.

    Raises:
        ValueError: there is no Ray at the address.

    Warns:
        Warning: what was warned of in a worker, once.
    """
    needs = Needs(
        cpus=1,
        gpus=1 if solver.device.type == "cuda" else None,
        memory=_PROCESS_BYTES + (solver.budget if solver.device.type == "cpu" else 0),
    )
    told: set[str] = set()
    run = executor.run(work, pieces, shared=shared, needs=needs, heard=heard)
    try:
        with closing(run) as results:
            for number, (result, said) in results:
                for category, text in said:
                    if text not in told:
                        told.add(text)
                        warnings.warn(text, category, stacklevel=2)
                yield number, result
    except ConnectionError as error:  # no matter of files, as others of its kind are
        raise ValueError(f"--executor: {str(error).removeprefix('executor: ')}") from error


def with_warnings(work: Callable[[], Result]) -> tuple[Result, Said]:
    """Return what a worker's work gives, and what it warned of, for the caller to hear."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        result = work()
    return result, [(one.category, str(one.message)) for one in caught]
