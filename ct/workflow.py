"""File to file: chunk after chunk, every finished one kept; the result appears when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch

from bayesnn.checks import check_count, check_positive
from ct.chunk import images_in_hounsfield, solve_chunk
from ct.data.digest import content_digest
from ct.data.own_files import check_replaceable
from ct.data.result_file import holds_result
from ct.data.scan_input import ScanInput, open_scan
from ct.data.simulation import check_output, versions
from ct.diagnosis.noise_level import check_noise_level
from ct.earlier_run import clean_up, open_partial
from ct.finished_result import finished_records, work_to_json
from ct.geometry import ImageGrid
from ct.geometry_json import geometry_to_json
from ct.method_choice import choose_method
from ct.partial_result import PartialResult, partial_path
from ct.possible_scan import check_memory
from ct.problem import Method, PackagedMethod
from ct.problem import Progress as SliceProgress
from ct.projectors.operator import projector
from ct.reconstruct_config import ReconstructConfig
from ct.reconstruction import SAMPLE_BUDGET
from ct.result_metadata import Metadata, run_metadata
from ct.run_options import choose_device, parse_slices
from ct.run_summary import (
    ReconstructSummary,
    count_findings,
    summarise_calibration,
    summarise_noise,
    warnings_of,
)
from ct.slice_figure import SlicePictures
from ct.slices import SliceSolver

Progress: TypeAlias = Callable[[float, float], None]
"""Called with (slices done, slices in all)."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was kept."""


def reconstruct_file(
    config: ReconstructConfig, *, progress: Progress | None = None
) -> ReconstructSummary:
    """Reconstruct a sinogram file, chunk of slices by chunk, into a result file.

    Input, settings, output and the room on its disk are checked before work starts. A chunk is one
    slice, or as many as the method takes at once within the memory budget; memory does not grow
    with the number of slices. Every finished chunk is kept beside the output, and the state of
    the one in work about every 20 seconds where its method saves it (`Problem.checkpoint`), so
    that an interruption of any kind loses little; the result appears when it is whole. A run that
    is resumed gives the same numbers, bit for bit; where the result is whole, nothing is done.

    Args:
        config: what to do.
        progress: told the slices that are done, and how many there are.

    Returns:
        What was done.

    Raises:
        ValueError: the input, a setting or the output cannot be used, the disk is full, or an
            earlier run's slices are in the way or of other work (see `ReconstructConfig.resume`).
        Interrupted: Ctrl-C; finished slices are kept.
    """
    start = time.monotonic()
    check_output(config.output, config.sinogram)
    check_replaceable(config.output, "whole reconstruction", holds_result)
    method = choose_method(config.method, config.settings)
    _check_packages(method)
    device = choose_device(config.device)
    check_count(config.seed, "--seed", minimum=0)
    if config.noise_std is not None:
        check_positive(config.noise_std, "--noise-std")
    source = open_scan(config.sinogram, config.scan)
    grid, scan = source.image_geometry()
    check_memory(grid, scan, device)
    indices = parse_slices(config.slices, source.file.shape[0])
    pictures = SlicePictures(config=config, numbers=indices)
    pictures.check()
    units = _units(config, source)
    first = source.read(indices[0])  # counts without --i0 are refused here
    if config.noise_std is not None:
        check_noise_level(torch.from_numpy(first.values), config.noise_std, "--noise-std")
    solver = SliceSolver(
        method=method,
        projector=projector(grid, scan),
        grid=grid,
        scan=scan,
        device=device,
        seed=config.seed,
        keep_samples=_keeps_samples(config, method, len(indices), grid),
        slices=range(indices[0], indices[-1] + 1),
        noise_given=config.noise_std is not None,
        memory_budget=config.memory_budget,
    )
    work = _work(config, source, solver, indices)
    earlier = None
    if config.resume and config.output.exists() and not partial_path(config.output).exists():
        earlier = finished_records(config.output, work)
        clean_up(config.output)
    if earlier is None:
        records, resumed = _solve(config, source, solver, indices, work, units, progress)
    else:
        records, resumed = earlier, len(indices)
    pictures.draw(source, solver.projector)
    return ReconstructSummary(
        output=str(config.output),
        method=method.name,
        device=str(device),
        slices=tuple(indices),
        resumed=resumed,
        seconds=time.monotonic() - start,
        units=units,
        noise=summarise_noise(records),
        raised_counts=sum(one["raised"] for one in records),
        missing_rays=sum(one["missing"] for one in records),
        examined=sum("findings" in one["diagnostics"] for one in records),
        findings=count_findings(records),
        calibration="" if method.n_samples is None else summarise_calibration(records),
        warnings=warnings_of(records),
        unchanged=earlier is not None,
    )


def _solve(
    config: ReconstructConfig,
    source: ScanInput,
    solver: SliceSolver,
    indices: list[int],
    work: Metadata,
    units: str,
    progress: Progress | None,
) -> tuple[list[Metadata], int]:
    """Write the result.

    Returns:
        Each slice's record, and how many slices an earlier run had finished.
    """
    length = solver.chunk_length(torch.float32)
    with open_partial(
        config.output,
        work=work,
        shapes=_shapes(solver, len(indices)),
        resume=config.resume,
    ) as partial:
        resumed = sum(len(records) for records in partial.chunks.values())
        try:
            if progress is not None:
                progress(float(resumed), float(len(indices)))
            for chunk, place in enumerate(range(0, len(indices), length)):
                if chunk in partial.chunks:
                    continue
                numbers = indices[place : place + length]
                part = solve_chunk(
                    source,
                    solver,
                    numbers,
                    noise_std=config.noise_std,
                    without_stripes=config.remove_stripes,
                    checkpoint=partial.checkpoint,
                    progress=_within(progress, place, numbers, indices),
                )
                images = part.images
                if config.mu_water is not None:
                    images = images_in_hounsfield(images, config.mu_water)
                partial.write(chunk, place, images, part.records)
            records = [one for chunk in sorted(partial.chunks) for one in partial.chunks[chunk]]
            partial.finish(
                _metadata(config, units, solver.method, records),
                solver.grid,
                solver.scan,
                work_to_json(work, records),
            )
        except KeyboardInterrupt as error:
            raise Interrupted(f"interrupted: {_kept(partial, indices)}") from error
        except OSError as error:
            raise ValueError(
                f"{config.output}: cannot be written ({error.strerror or error}); "
                f"{_kept(partial, indices, 'make room and ')}"
            ) from error
        except (MemoryError, RuntimeError) as error:
            raise _out_of_memory(error, solver.device, partial, indices) from error
    return records, resumed


def _check_packages(method: Method) -> None:
    if isinstance(method, PackagedMethod):
        try:
            method.check_packages()
        except ImportError as error:
            raise ValueError(f"--method {method.name}: {error}") from error


def _units(config: ReconstructConfig, source: ScanInput) -> str:
    """Return the result's units; images that are no attenuation have no Hounsfield units."""
    if config.mu_water is None:
        return source.image_units
    check_positive(config.mu_water, "--mu-water")
    if source.image_units not in {"", "1/mm"}:
        raise ValueError(
            f"--hu: expected an attenuation in 1/mm to convert, but {config.sinogram} gives "
            f"{source.image_units}; leave --hu out."
        )
    return "HU"


def _keeps_samples(
    config: ReconstructConfig, method: Method, n_slices: int, grid: ImageGrid
) -> bool:
    if config.samples is not None:
        if config.samples and method.n_samples is None:
            raise ValueError(f"--samples: {method.name} has no samples; choose another --method.")
        return config.samples
    # as `reconstruct` decides for a whole stack
    n_values = (method.n_samples or 0) * n_slices * grid.shape[0] * grid.shape[1]
    return 4 * n_values <= SAMPLE_BUDGET


def _shapes(solver: SliceSolver, n_slices: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"mean": (n_slices, *solver.grid.shape)}
    if solver.method.n_samples is not None:
        shapes["std"] = shapes["mean"]
        if solver.keep_samples:
            shapes["samples"] = (n_slices, solver.method.n_samples, *solver.grid.shape)
    return shapes


def _out_of_memory(
    error: Exception, device: torch.device, partial: PartialResult, indices: list[int]
) -> Exception:
    """Return what to say of memory that ran out; other errors stay what they are."""
    # torch says the CPU's in a plain RuntimeError
    if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)):
        return error
    less = "" if device.type == "cpu" else ", --device cpu"
    return ValueError(
        f"{device}: out of memory; say a smaller --memory-budget (such as 64MiB), choose a "
        f"smaller --image-size or fewer samples in --config{less}. {_kept(partial, indices)}"
    )


def _kept(partial: PartialResult, indices: list[int], before: str = "") -> str:
    """Return what an interruption leaves, and how to go on, with what must be done before."""
    n_kept = sum(len(records) for records in partial.chunks.values())
    has_state = partial.keep_state()
    if not n_kept and not has_state:
        return f"nothing was finished, so nothing is kept; {before}start again."
    if not n_kept:
        return (
            f"no slice is finished, but the state of the first is kept beside {partial.output}; "
            f"{before}say --resume to go on from it."
        )
    state = ", and the state of the next" if has_state else ""
    return (
        f"{n_kept} of {len(indices)} slices are kept beside {partial.output}{state}; {before}say "
        "--resume to go on with them."
    )


def _within(
    progress: Progress | None, place: int, numbers: list[int], indices: list[int]
) -> SliceProgress | None:
    if progress is None:
        return None
    return lambda step, steps: progress(
        place + len(numbers) * step / max(steps, 1), float(len(indices))
    )


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


def _work(
    config: ReconstructConfig, source: ScanInput, solver: SliceSolver, indices: list[int]
) -> Metadata:
    """Return all that the numbers depend on, as JSON can hold it."""
    return {
        "sinogram": content_digest(config.sinogram),
        "geometry": geometry_to_json(*source.geometry()),
        "values": source.values,
        "scan": {name: _told(value) for name, value in vars(config.scan).items()},
        "method": solver.method.name,
        "settings": {**solver.method.settings(), "at once": solver.chunk_length(torch.float32)},
        "noise_std": config.noise_std,
        "remove_stripes": config.remove_stripes,
        "mu_water": config.mu_water,
        "samples": solver.keep_samples,
        "memory_budget": config.memory_budget,
        "seed": config.seed,
        "slices": [indices[0], indices[-1] + 1],
        "device": solver.device.type,
        "versions": versions(),
    }


def _told(value: object) -> str:
    """Return what an option says; of a file (or FILE::DATASET) what is in it."""
    name, _, dataset = str(value).partition("::")
    known = isinstance(value, str | Path) and Path(name).exists()
    return f"{content_digest(name)}::{dataset}" if known else str(value)
