"""File to file: one slice after the other, every finished one kept, the result written at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from bayesnn.checks import check_count, check_positive
from ct.data.scan_input import ScanInput, open_scan
from ct.data.simulation import check_output, versions
from ct.geometry_json import geometry_to_json
from ct.method_choice import choose_method
from ct.parts import file_digest, open_parts
from ct.problem import Method
from ct.problem import Progress as SliceProgress
from ct.reconstruct_config import ReconstructConfig
from ct.reconstruction import SAMPLE_BUDGET, reconstruct

Progress: TypeAlias = Callable[[float], None]
"""Called with the share of the whole work that is done."""


@dataclass(frozen=True, kw_only=True)
class ReconstructSummary:
    """What a run did.

    Attributes:
        output: the result file.
        method: the method's name.
        device: where it ran.
        slices: the slices' numbers in the sinogram file.
        resumed: how many of them an earlier run had finished.
        raised_counts: how many counts of zero were raised to have a logarithm.
    """

    output: str
    method: str
    device: str
    slices: tuple[int, ...]
    resumed: int
    raised_counts: int


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what was kept."""


def reconstruct_file(
    config: ReconstructConfig, *, progress: Progress | None = None
) -> ReconstructSummary:
    """Reconstruct a sinogram file, slice by slice, into a result file.

    Input, settings and output are checked before work starts. Every finished slice is kept beside
    the output, so that an interruption of any kind loses the slice in work alone; the result
    appears when it is whole. A run that is resumed gives the same numbers, bit for bit.

    Args:
        config: what to do.
        progress: told the share of the work that is done.

    Returns:
        What was done.

    Raises:
        ValueError: the input, a setting or the output cannot be used, or an earlier run's slices
            are in the way (see `ReconstructConfig.resume`).
        Interrupted: Ctrl-C; finished slices are kept.
    """
    check_output(config.output, config.sinogram)
    method = choose_method(config.method, config.settings)
    device = choose_device(config.device)
    check_count(config.seed, "--seed", minimum=0)
    if config.noise_std is not None:
        check_positive(config.noise_std, "--noise-std")
    source = open_scan(config.sinogram, config.scan)
    grid, scan = source.geometry()
    indices = parse_slices(config.slices, source.file.shape[0])
    source.read(indices[0])  # counts without --i0 are refused here
    parts = open_parts(
        config.output, _work(config, source, method, device, indices), resume=config.resume
    )
    # as `reconstruct` decides for a whole stack
    n_values = (method.n_samples or 0) * len(indices) * grid.shape[0] * grid.shape[1]
    keep_samples = n_values * 4 <= SAMPLE_BUDGET
    earlier = parts.finished()
    raised = 0
    try:
        for position, index in enumerate(indices):
            if index in earlier:
                continue
            measured = source.read(index)
            raised += measured.n_raised
            reconstruct(
                measured.values,
                scan,
                grid,
                method=method,
                noise_std=config.noise_std,
                seed=config.seed,
                device=device,
                progress=_within(progress, position, len(indices)),
                first_slice=index,
                keep_samples=keep_samples,
                units=source.image_units,
            ).save(parts.path(index))
        parts.merge(indices)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted: {len(parts.finished())} of {len(indices)} slices are kept beside "
            f"{config.output}; say --resume to go on with them."
        ) from error
    finally:
        parts.discard_if_empty()
    return ReconstructSummary(
        output=str(config.output),
        method=method.name,
        device=str(device),
        slices=tuple(indices),
        resumed=len(earlier),
        raised_counts=raised,
    )


def choose_device(name: str) -> torch.device:
    """Return the device that a user named; "auto" is the GPU where there is one.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:1".

    Returns:
        The device.

    Raises:
        ValueError: no such device here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in {"cpu", "cuda"}:
        raise ValueError(f"--device: expected auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device: {name} is not here ({torch.cuda.device_count()} CUDA devices found); say "
            "--device cpu."
        )
    return device


def parse_slices(text: str | None, n_slices: int) -> list[int]:
    """Return the slices that "a:b" names, from a to before b; either may be left out.

    Args:
        text: "a:b", or None for all.
        n_slices: how many there are.

    Returns:
        Their numbers.

    Raises:
        ValueError: another form, or slices that are not there.

    Example:
        >>> parse_slices("1:3", 5), parse_slices("3:", 5)
        ([1, 2], [3, 4])
    """
    match = re.fullmatch(r"(\d*):(\d*)", text or ":")
    if match is None:
        raise ValueError(f"--slices: expected a:b, such as 0:{n_slices}, got {text!r}.")
    start, stop = int(match[1] or 0), int(match[2] or n_slices)
    if not 0 <= start < stop <= n_slices:
        raise ValueError(
            f"--slices: expected a:b with 0 ≤ a < b ≤ {n_slices} (the file's slices), got {text!r}."
        )
    return list(range(start, stop))


def _within(progress: Progress | None, position: int, n_slices: int) -> SliceProgress | None:
    if progress is None:
        return None
    return lambda step, steps: progress((position + step / max(steps, 1)) / n_slices)


def _work(
    config: ReconstructConfig,
    source: ScanInput,
    method: Method,
    device: torch.device,
    indices: list[int],
) -> dict[str, Any]:
    """Return all that the numbers depend on, as JSON can hold it."""
    return {
        "sinogram": file_digest(config.sinogram),
        "geometry": geometry_to_json(*source.geometry()),
        "values": [source.values, source.i0],
        "method": method.name,
        "settings": method.settings(),
        "noise_std": config.noise_std,
        "seed": config.seed,
        "slices": indices,
        "device": device.type,
        "versions": versions(),
    }
