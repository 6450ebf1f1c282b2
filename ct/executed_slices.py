"""Slices in memory as pieces of work for an executor."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.executors.protocol import Context, Executor
from ct.executed_pieces import Said, executed_pieces, with_warnings
from ct.problem import Progress
from ct.remote_solver import RemoteSolver, remote_solver, reporting
from ct.slice_tally import SliceTally
from ct.slices import SliceSolver, SolvedSlice

_STEPS = 1000
"""In how many steps a slice is told of, as progress is in whole steps."""


def executed_slices(
    executor: Executor,
    solver: SliceSolver,
    sinograms: Float[Tensor, "slices views detectors"],
    noise_std: Sequence[Float[Tensor, "*views_detectors"] | None],
    *,
    first_slice: int,
    progress: Progress | None,
) -> list[SolvedSlice]:
    """Reconstruct slices by an executor; see `SliceSolver.solve`.

    Args:
        executor: whose workers take the slices.
        solver: what all slices share.
        sinograms: line integrals.
        noise_std: of each slice; None estimates one number.
        first_slice: number of the first slice.
        progress: called with the steps over all slices.

    Returns:
        Each slice's estimate, on the solver's device, and noise.
    """
    parts = _Parts(sinograms, noise_std, first_slice, solver.chunk_length(sinograms.dtype))
    tally = SliceTally(
        None if progress is None else lambda done, n: progress(int(_STEPS * done), int(_STEPS * n)),
        n_slices=len(sinograms),
        n_done=0,
    )

    def heard(number: int, share: object) -> None:
        if isinstance(share, float):
            tally.in_work(number, share * parts.length(number))

    found: dict[int, list[SolvedSlice]] = {}
    shared = remote_solver(solver)
    with closing(
        executed_pieces(executor, solve_part, parts, shared=shared, solver=solver, heard=heard)
    ) as results:
        for number, solved in results:
            found[number] = [_on(solver.device, one) for one in solved]
            tally.finished(number, len(solved))
    return [one for number in sorted(found) for one in found[number]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some slices to reconstruct.

    Attributes:
        first_slice: number of the first.
        sinograms: line integrals, on the CPU.
        noise_std: of each slice.
    """

    first_slice: int
    sinograms: Float[Tensor, "slices views detectors"]
    noise_std: list[Float[Tensor, "*views_detectors"] | None]


def solve_part(
    solver: RemoteSolver, part: Part, context: Context
) -> tuple[list[SolvedSlice], Said]:
    """Reconstruct some slices in a worker.

    Args:
        solver: what all slices share.
        part: the slices.
        context: where to compute, and whom to tell how far it is.

    Returns:
        Their estimates, on the CPU, and what was warned of.
    """

    def work() -> list[SolvedSlice]:
        solved = solver.here(context.device).solve(
            part.sinograms,
            part.noise_std,
            first_slice=part.first_slice,
            progress=reporting(context),
        )
        return [_on(torch.device("cpu"), one) for one in solved]

    return with_warnings(work)


class _Parts(Sequence[Part]):
    """The slices, cut when they are asked for."""

    def __init__(
        self,
        sinograms: Tensor,
        noise_std: Sequence[Tensor | None],
        first_slice: int,
        length: int,
    ) -> None:
        self._of = (sinograms, noise_std, first_slice, length)

    def __len__(self) -> int:
        sinograms, _, _, length = self._of
        return -(-len(sinograms) // length)

    def length(self, index: int) -> int:
        """Return how many slices a part has."""
        sinograms, _, _, length = self._of
        return min(length, len(sinograms) - index * length)

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...
    def __getitem__(self, index: int | slice) -> Part | list[Part]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        sinograms, noise_std, first_slice, length = self._of
        start = index * length
        stop = start + self.length(index)
        # copies: a view would travel with all that it is a view of
        return Part(
            first_slice=first_slice + start,
            sinograms=sinograms[start:stop].to("cpu", copy=True),
            noise_std=[
                None if one is None else one.to("cpu", copy=True) for one in noise_std[start:stop]
            ],
        )


def _on(device: torch.device, solved: SolvedSlice) -> SolvedSlice:
    one = solved.estimate
    moved = replace(
        one,
        mean=one.mean.to(device),
        std=None if one.std is None else one.std.to(device),
        samples=None if one.samples is None else one.samples.to(device),
    )
    return replace(solved, estimate=moved)
