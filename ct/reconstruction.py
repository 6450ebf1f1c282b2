"""From a sinogram to images with error bars: the one call that users make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.checks import as_finite_tensor, check_count
from bayesnn.seeds import seeded_generator
from bayesnn.versions import installed_versions
from ct.geometry import ImageGrid, Scan
from ct.noise import estimate_noise_std
from ct.posterior.mc_dropout import mc_dropout
from ct.problem import Estimate, Method, Problem, Progress
from ct.projectors.operator import Projector, projector
from ct.result import Reconstruction

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

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
    units: str = "",
) -> Reconstruction:
    """Reconstruct images, with the uncertainty that the method gives.

    Slices are independent: slice i of a stack draws from the random stream (seed, first_slice
    + i), so any range of slices gives the same numbers as the whole stack.

    Args:
        sinogram: line integrals, value × length in mm, [views, detectors] or [slices, views,
            detectors]; float64 is computed in float64, all else in float32.
        scan: where the rays are.
        grid: where the pixels shall be.
        method: such as `fbp()` or `mc_dropout()`; None for `mc_dropout()`.
        noise_std: standard deviation of each ray's noise, in the sinogram's units: one number, or
            [views, detectors]. None estimates one number for each slice.
        seed: seed of everything random.
        device: where to compute; None for where the sinogram is.
        progress: called with (done, in all), in steps of the method over all slices.
        first_slice: number of the first slice, where the sinogram is part of a longer one.
        keep_samples: whether the result holds the joint samples, which `region` needs; None keeps
            them where all slices' samples take no more than 256 MiB.
        units: the image's units, for the result's metadata.

    Returns:
        Images [rows, columns] or [slices, rows, columns], as the sinogram.

    Raises:
        ValueError: a sinogram with NaN or of another shape than the scan, a noise that is not
            positive or cannot be estimated, a device that is not here.

    Example:
        >>> import numpy as np
        >>> from ct import ParallelBeam, fbp
        >>> scan, grid = ParallelBeam(np.arange(8) * np.pi / 8, n_detectors=12), ImageGrid((8, 8))
        >>> result = reconstruct(np.ones((8, 12)), scan, grid, method=fbp(), noise_std=0.1)
        >>> result.mean.shape, result.std
        (torch.Size([8, 8]), None)
    """
    values = _checked_sinogram(sinogram, scan)
    noise = None if noise_std is None else _checked_noise(noise_std, scan)
    place = values.device if device is None else _checked_device(device)
    check_count(seed, "seed", minimum=0)
    check_count(first_slice, "first_slice", minimum=0)
    method = mc_dropout() if method is None else method
    stack = values if values.ndim == 3 else values[None]
    if keep_samples is None:
        n_values = (method.n_samples or 0) * len(stack) * grid.shape[0] * grid.shape[1]
        keep_samples = n_values * values.element_size() <= SAMPLE_BUDGET

    operator = projector(grid, scan)
    estimates: list[Estimate] = []
    noise_means: list[float] = []
    for index, one in enumerate(stack):
        std = _estimated_noise(one) if noise is None else noise
        noise_means.append(float(std.mean()))
        problem = _problem(one, std, operator, grid, scan, place, keep_samples=keep_samples)
        estimates.append(
            method.solve(
                problem,
                seed=seeded_generator(seed, first_slice + index).initial_seed(),
                progress=_part_of(progress, index, len(stack)),
            )
        )
    metadata: dict[str, Any] = {
        "method": method.name,
        "settings": method.settings(),
        "units": units,
        "seed": seed,
        "slices": list(range(first_slice, first_slice + len(stack))),
        "n_samples": method.n_samples,
        "noise_std": noise_means,
        "noise_std_source": "estimated" if noise is None else "given",
        "calibration": estimates[0].calibration,
        "versions": installed_versions("bayesnn", "torch"),
        "diagnostics": [estimate.diagnostics for estimate in estimates],
    }
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


def _checked_noise(noise_std: ArrayLike | Tensor, scan: Scan) -> Float[Tensor, "*views_detectors"]:
    noise = as_finite_tensor(noise_std, "noise_std", ndim=(0, 2), dtype=torch.float64)
    if noise.ndim == 2 and tuple(noise.shape) != (scan.n_views, scan.n_detectors):
        raise ValueError(
            f"noise_std: expected one number or shape [{scan.n_views}, {scan.n_detectors}] (views, "
            f"detectors), got {list(noise.shape)}."
        )
    if not bool((noise > 0).all()):
        raise ValueError(
            f"noise_std: expected numbers above 0, got {float(noise.min()):g}; leave it out to "
            "estimate it."
        )
    return noise


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


def _estimated_noise(one: Float[Tensor, "views detectors"]) -> Float[Tensor, ""]:
    return torch.tensor(estimate_noise_std(one), dtype=torch.float64)


def _problem(
    one: Float[Tensor, "views detectors"],
    noise_std: Float[Tensor, "*views_detectors"],
    operator: Projector,
    grid: ImageGrid,
    scan: Scan,
    device: torch.device,
    *,
    keep_samples: bool,
) -> Problem:
    sinogram = one.to(device)
    return Problem(
        sinogram=sinogram,
        noise_std=noise_std.to(sinogram).expand(sinogram.shape),
        projector=operator,
        grid=grid,
        scan=scan,
        keep_samples=keep_samples,
    )


def _part_of(progress: Progress | None, index: int, n_slices: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, n_slices * total)


def _stacked(parts: list[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.stack(present) if len(present) == len(parts) else None
