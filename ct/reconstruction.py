"""From a sinogram to images with error bars: the one call that users make."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count
from bayesnn.versions import installed_versions
from ct.diagnosis.noise_level import check_noise_level
from ct.executed_slices import executed_slices
from ct.geometry import ImageGrid, Scan
from ct.possible_scan import check_memory, check_possible
from ct.posterior.jackknife import jackknife
from ct.problem import Method, Progress
from ct.projectors.operator import projector
from ct.result import Reconstruction
from ct.result_metadata import run_metadata, slice_record
from ct.slices import SliceSolver

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bayesnn.executors.protocol import Executor

SAMPLE_BUDGET = 256 * 2**20
"""Bytes of joint samples that a result keeps unasked."""


def reconstruct(
    sinogram: ArrayLike | Tensor,
    scan: Scan,
    grid: ImageGrid,
    *,
    method: Method | None = None,
    noise_std: ArrayLike | Tensor | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    first_slice: int = 0,
    keep_samples: bool | None = None,
    memory_budget: int | None = None,
    units: str = "",
    executor: Executor | None = None,
) -> Reconstruction:
    """Reconstruct images, with the uncertainty that the method gives.

    Slices are independent: slice i of a stack draws from the random stream (seed, first_slice
    + i), so any range of slices gives the same numbers as the whole stack; to rounding where a
    method takes several slices at once (`ct.problem.StackMethod`).

    Args:
        sinogram: line integrals, value × length in mm, [views, detectors] or [slices, views,
            detectors]; float64 is computed in float64, all else in float32.
        scan: where the rays are.
        grid: where the pixels shall be.
        method: such as `fbp()` or `ensemble()`; None for `jackknife()`.
        noise_std: standard deviation of each ray's noise, in the sinogram's units: one number,
            [views, detectors] or [slices, views, detectors]; infinite for rays that were not
            measured (dead bins), whose value in the sinogram is a guess. None estimates one
            number for each slice.
        seed: seed of everything random.
        device: where to compute; None for where the sinogram is.
        progress: called with (done, in all), in steps of the method over all slices.
        first_slice: number of the first slice, where the sinogram is part of a longer one.
        keep_samples: whether the result holds the joint samples, which `region` needs; None keeps
            them where all slices' samples take no more than 256 MiB.
        memory_budget: bytes that the slices, members or samples in work at once may take; None for
            256 MiB on a CPU, and on a GPU for a 32nd of its memory (slices; 256 MiB at least) or a
            quarter (members, samples).
        units: the image's units, for the result's metadata.
        executor: whose workers take the slices, such as `bayesnn.executors.local_executor(2)`;
            None for this process. The numbers are the same.

    Returns:
        Images [rows, columns] or [slices, rows, columns], as the sinogram.

    Raises:
        ValueError: a sinogram with NaN or of another shape than the scan, a scan that no image can
            be made from (`ct.possible_scan.check_possible`), a noise that is not positive, ten
            times the largest line integral, or cannot be estimated, a device that is not here or
            has too little memory, an executor that is none. A noise that the sinogram contradicts
            is a finding in the diagnostics.

    Example:
        >>> import numpy as np
        >>> from ct import ParallelBeam, fbp
        >>> scan, grid = ParallelBeam(np.arange(8) * np.pi / 8, n_detectors=12), ImageGrid((8, 8))
        >>> result = reconstruct(np.ones((8, 12)), scan, grid, method=fbp(), noise_std=0.1)
        >>> result.mean.shape, result.std
        (torch.Size([8, 8]), None)
    """
    values = _checked_sinogram(sinogram, scan)
    check_possible(grid, scan)
    noise = None if noise_std is None else _checked_noise(noise_std, values)
    where = values.device if device is None else _checked_device(device)
    check_memory(grid, scan, where)
    check_count(seed, "seed", minimum=0)
    check_count(first_slice, "first_slice", minimum=0)
    if memory_budget is not None:
        check_count(memory_budget, "memory_budget")
    if executor is not None:
        _check_executor(executor)
    method = jackknife() if method is None else method
    stack = values if values.ndim == 3 else values[None]
    if keep_samples is None:
        n_values = (method.n_samples or 0) * len(stack) * grid.shape[0] * grid.shape[1]
        keep_samples = n_values * values.element_size() <= SAMPLE_BUDGET
    solver = SliceSolver(
        method=method,
        projector=projector(grid, scan),
        grid=grid,
        scan=scan,
        device=where,
        seed=seed,
        keep_samples=keep_samples,
        slices=range(first_slice, first_slice + len(stack)),
        noise_given=noise is not None,
        memory_budget=memory_budget,
    )
    per_slice = noise if noise is not None and noise.ndim == 3 else [noise] * len(stack)
    solve = solver.solve if executor is None else partial(executed_slices, executor, solver)
    solved = solve(stack, list(per_slice), first_slice=first_slice, progress=progress)
    estimates = [one.estimate for one in solved]
    metadata = run_metadata(
        method,
        seed=seed,
        units=units,
        noise_std_source="estimated" if noise is None else "given",
        versions=installed_versions("bayesnn", "torch"),
        slices=[slice_record(first_slice + place, one) for place, one in enumerate(solved)],
    )
    result = Reconstruction(
        mean=torch.stack([estimate.mean for estimate in estimates]),
        std=_stacked([estimate.std for estimate in estimates]),
        samples=_stacked([estimate.samples for estimate in estimates]),
        metadata=metadata,
        grid=grid,
        scan=scan,
    )
    return result if values.ndim == 3 else result.single(0)


def _checked_sinogram(
    sinogram: ArrayLike | Tensor, scan: Scan
) -> Float[Tensor, "*slices views detectors"]:
    values = as_finite_tensor(sinogram, "sinogram", ndim=(2, 3))
    views, detectors = values.shape[-2:]
    if (views, detectors) != (scan.n_views, scan.n_detectors):
        raise ValueError(
            f"sinogram: expected {scan.n_views} views (the scan's angles) of {scan.n_detectors} "
            f"detectors, got {views} views of {detectors} detectors (shape {list(values.shape)}); "
            "give the angles and detectors that belong to it."
        )
    return values


def _checked_noise(
    noise_std: ArrayLike | Tensor, values: Float[Tensor, "*slices views detectors"]
) -> Float[Tensor, "*slices_views_detectors"]:
    noise_std, missing = _without_missing(noise_std)
    noise = as_finite_tensor(noise_std, "noise_std", ndim=(0, 2, 3), dtype=torch.float64)
    if noise.ndim and tuple(noise.shape) not in {tuple(values.shape), tuple(values.shape[-2:])}:
        wanted = " or ".join(str(list(s)) for s in {values.shape[-2:], values.shape})
        raise ValueError(
            f"noise_std: expected one number or shape {wanted} ((slices,) views, detectors), got "
            f"{list(noise.shape)}."
        )
    if not bool((noise > 0).all()):
        raise ValueError(
            f"noise_std: expected numbers above 0, got {float(noise.min()):g}; leave it out to "
            "estimate it."
        )
    unseen = missing.flatten(-2).all(-1) if missing.ndim >= 2 else missing
    if bool(unseen.any()):
        raise ValueError(
            "noise_std: expected rays that were measured in every slice, got a slice where it is "
            "infinite for all of them; leave that slice out."
        )
    noise = torch.where(missing, math.inf, noise)
    check_noise_level(values, noise)
    return noise


def _without_missing(
    noise_std: ArrayLike | Tensor,
) -> tuple[ArrayLike | Tensor, Bool[Tensor, "*rays"]]:
    """Return the noise with ones for infinities, which mark missing rays, and where they stood."""
    nowhere = torch.zeros((), dtype=torch.bool)
    try:
        given = noise_std if isinstance(noise_std, Tensor) else torch.as_tensor(np.array(noise_std))
    except (TypeError, ValueError):
        return noise_std, nowhere  # the check that follows says what is wrong
    missing = given == math.inf
    return (torch.where(missing, 1.0, given), missing) if missing.any() else (noise_std, nowhere)


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device: expected cpu or cuda, got {device!r}.") from None
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {place} is not here ({torch.cuda.device_count()} CUDA devices found); "
            "use cpu."
        )
    if place.type not in {"cpu", "cuda"}:
        raise ValueError(f"device: expected cpu or cuda, got {str(place)!r}.")
    return place


def _stacked(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.stack(present) if len(present) == len(parts) else None


def _check_executor(executor: object) -> None:
    from bayesnn.executors import Executor

    if isinstance(executor, type) or not isinstance(executor, Executor):
        raise ValueError(
            f"executor: expected an object such as local_executor(2), or None; got {executor!r:.80}"
            "; words such as 'local:2' become one by bayesnn.executors.executor_from."
        )
