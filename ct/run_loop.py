"""The loop of a run: chunk after chunk onto the disk, here or by an executor, then the result."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import torch

from ct.chunk import Chunk, ChunkWork
from ct.data.scan_input import ScanInput
from ct.data.simulation import versions
from ct.earlier_run import open_partial
from ct.executed_chunks import executed_chunks
from ct.finished_result import work_to_json
from ct.interruption import says_what_is_kept
from ct.partial_result import PartialResult
from ct.problem import Method
from ct.problem import Progress as SliceProgress
from ct.reconstruct_config import ReconstructConfig
from ct.result_copy import open_copy
from ct.result_metadata import Metadata, run_metadata
from ct.slice_tally import Progress, SliceTally
from ct.slices import SliceSolver
from ct.state_place import state_place


def write_result(
    config: ReconstructConfig,
    source: ScanInput,
    solver: SliceSolver,
    indices: list[int],
    work: Metadata,
    units: str,
    progress: Progress | None,
) -> tuple[list[Metadata], int]:
    """Reconstruct all slices that no earlier run finished, and write the result.

    Args:
        config: what was asked for.
        source: the scan.
        solver: what all slices share.
        indices: numbers of the slices.
        work: all that the numbers depend on.
        units: the result's.
        progress: told the slices that are done, and how many there are.

    Returns:
        Each slice's record, and how many slices an earlier run had finished.

    Raises:
        ValueError: see `open_copy`, `open_partial` and `says_what_is_kept`.
        Interrupted: Ctrl-C; finished slices are kept.
    """
    length = solver.chunk_length(torch.float32)
    with (
        open_copy(config.checkpoint, work, resume=config.resume) as copy,
        open_partial(
            config.output,
            work=work,
            shapes=_shapes(solver, len(indices)),
            resume=config.resume,
            states=None if copy is None else copy.states,
        ) as partial,
    ):
        also_at = None if copy is None else str(copy)
        with says_what_is_kept(partial, len(indices), solver.device, also_at=also_at):
            if copy is not None:
                copy.bring_back(partial)
                copy.follow(partial)
            resumed = sum(len(records) for records in partial.chunks.values())
            chunks = {
                chunk: indices[place : place + length]
                for chunk, place in enumerate(range(0, len(indices), length))
                if chunk not in partial.chunks
            }
            tally = SliceTally(progress, n_slices=len(indices), n_done=resumed)
            with closing(
                _chunks_here(config, source, solver, chunks, partial, tally)
                if config.executor is None
                else executed_chunks(
                    config.executor,
                    source,
                    solver,
                    _chunk_work(config),
                    chunks,
                    state=state_place(config.output, work, config.checkpoint),
                    tally=tally,
                )
            ) as solved:
                for chunk, part in solved:
                    partial.write(chunk, chunk * length, part.images, part.records)
                    if copy is not None:
                        copy.follow(partial)
                    tally.finished(chunk, len(part.records))
            records = [one for chunk in sorted(partial.chunks) for one in partial.chunks[chunk]]
            partial.finish(
                _metadata(config, units, solver.method, records),
                solver.grid,
                solver.scan,
                work_to_json(work, records),
            )
    return records, resumed


def _chunks_here(
    config: ReconstructConfig,
    source: ScanInput,
    solver: SliceSolver,
    chunks: dict[int, list[int]],
    partial: PartialResult,
    tally: SliceTally,
) -> Generator[tuple[int, Chunk], None, None]:
    """Reconstruct chunk after chunk in this process.

    Yields:
        A chunk's number and its images.
    """
    for chunk, numbers in chunks.items():
        yield (
            chunk,
            _chunk_work(config).solve(
                solver,
                numbers,
                [source.read(number) for number in numbers],
                checkpoint=partial.checkpoint,
                progress=_within(tally, chunk, len(numbers)),
            ),
        )


def _within(tally: SliceTally, chunk: int, n_slices: int) -> SliceProgress:
    return lambda step, steps: tally.in_work(chunk, n_slices * step / max(steps, 1))


def _chunk_work(config: ReconstructConfig) -> ChunkWork:
    return ChunkWork(
        noise_std=config.noise_std,
        without_stripes=config.remove_stripes,
        mu_water=config.mu_water,
    )


def _shapes(solver: SliceSolver, n_slices: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"mean": (n_slices, *solver.grid.shape)}
    if solver.method.n_samples is not None:
        shapes["std"] = shapes["mean"]
        if solver.keep_samples:
            shapes["samples"] = (n_slices, solver.method.n_samples, *solver.grid.shape)
    return shapes


def _metadata(
    config: ReconstructConfig, units: str, method: Method, records: list[Metadata]
) -> Metadata:
    metadata = run_metadata(
        method,
        seed=config.seed,
        units=units,
        noise_std_source=records[0]["noise_std_source"],
        versions=versions(),
        slices=records,
    )
    return metadata if config.mu_water is None else {**metadata, "mu_water": config.mu_water}
