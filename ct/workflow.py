"""File to file: chunk after chunk, every finished one kept; the result appears when it is whole."""

from __future__ import annotations

import time

import torch

from bayesnn.checks import check_count, check_positive
from ct.data.own_files import check_replaceable
from ct.data.result_file import holds_result
from ct.data.scan_input import ScanInput, open_scan
from ct.data.simulation import check_output
from ct.diagnosis.noise_level import check_noise_level
from ct.earlier_run import clean_up
from ct.finished_result import finished_records
from ct.geometry import ImageGrid
from ct.interruption import Interrupted as Interrupted
from ct.method_choice import choose_method
from ct.partial_result import partial_path
from ct.possible_scan import check_memory
from ct.problem import Method, PackagedMethod
from ct.projectors.operator import projector
from ct.reconstruct_config import ReconstructConfig
from ct.reconstruction import SAMPLE_BUDGET
from ct.run_identity import work_of
from ct.run_loop import write_result
from ct.run_options import choose_device, parse_slices
from ct.run_summary import (
    ReconstructSummary,
    count_findings,
    summarise_calibration,
    summarise_noise,
    warnings_of,
)
from ct.slice_figure import SlicePictures
from ct.slice_tally import Progress
from ct.slices import SliceSolver


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
    device = _device(config)
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
    work = work_of(config, source, solver, indices)
    earlier = None
    if config.resume and config.output.exists() and not partial_path(config.output).exists():
        earlier = finished_records(config.output, work)
        clean_up(config.output)
    if earlier is None:
        records, resumed = write_result(config, source, solver, indices, work, units, progress)
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


def _check_packages(method: Method) -> None:
    if isinstance(method, PackagedMethod):
        try:
            method.check_packages()
        except ImportError as error:
            raise ValueError(f"--method {method.name}: {error}") from error


def _device(config: ReconstructConfig) -> torch.device:
    """Return the kind of device that computes; a cluster's need not be here."""
    kind = None if config.executor is None else config.executor.device_type
    if kind is None or torch.device(kind).type == config.device.partition(":")[0]:
        kind = config.device
    elif config.device != "auto":
        raise ValueError(
            f"--device: expected {kind}, which the executor's workers compute on, got "
            f"{config.device}; leave it out."
        )
    there = config.executor is not None and config.executor.device_type is not None
    return torch.device(kind) if there else choose_device(kind)


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
