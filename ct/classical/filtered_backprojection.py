"""Filtered back-projection for parallel beams: the baseline that everybody knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ct.geometry import ImageGrid, ParallelBeam, Scan
from ct.problem import Estimate, Problem, Progress, Setting

Window: TypeAlias = Callable[[Tensor], Tensor]
"""Factor on the ramp filter, of the frequency as a fraction of Nyquist's, from 0 to 1."""

_MISSING_WEDGE = 4.0  # a gap so many times the median is no coarse sampling, but views not taken


def ramp(frequency: Tensor) -> Tensor:
    """Return the window that leaves the ramp filter as it is: sharp, and noisy.

    Example:
        >>> ramp(torch.tensor([0.0, 1.0]))
        tensor([1., 1.])
    """
    return torch.ones_like(frequency)


def hann(frequency: Tensor) -> Tensor:
    """Return the Hann window ½ (1 + cos πf): smooth, with half the resolution of `ramp`.

    Example:
        >>> hann(torch.tensor([0.0, 1.0]))
        tensor([1., 0.])
    """
    return (1 + torch.cos(math.pi * frequency)) / 2


def fbp(*, window: Window = hann) -> FilteredBackprojection:
    """Make the reconstruction method that is `filtered_backprojection`.

    Args:
        window: factor on the ramp filter: `hann`, `ramp` or any function like them.

    Returns:
        A method for `ct.reconstruct`; it gives no uncertainty.

    Example:
        >>> fbp(window=ramp).settings()
        {'window': 'ramp'}
    """
    return FilteredBackprojection(window=window)


@dataclass(frozen=True, kw_only=True)
class FilteredBackprojection:
    """The method behind `fbp`.

    Attributes:
        window: factor on the ramp filter.
    """

    window: Window

    @property
    def name(self) -> str:
        """The command line's spelling."""
        return "fbp"

    @property
    def n_samples(self) -> int | None:
        """None: there is no uncertainty."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Return the window's name."""
        return {"window": getattr(self.window, "__name__", repr(self.window))}

    def solve(self, problem: Problem, *, seed: int, progress: Progress | None = None) -> Estimate:
        """Reconstruct one slice; nothing is random, so the seed does nothing.

        Args:
            problem: what was measured.
            seed: ignored.
            progress: called once, when done.

        Returns:
            The image, without uncertainty.
        """
        del seed
        image = filtered_backprojection(
            problem.sinogram, problem.grid, problem.scan, window=self.window
        )
        if progress is not None:
            progress(1, 1)
        return Estimate(mean=image)


def filtered_backprojection(
    sinogram: Float[Tensor, "*batch views detectors"],
    grid: ImageGrid,
    scan: Scan,
    window: Window = hann,
) -> Float[Tensor, "*batch rows columns"]:
    """Invert the Radon transform, as if there were views enough and no noise.

    x(r) = Σ_v w_v (h ∗ p_v)(r · n_v), with n_v = (cos θ_v, sin θ_v), h the ramp filter times the
    window, linear interpolation between bins, and w_v half the angles to the neighbours of view v,
    all taken modulo π. A gap over four times the median is a wedge without views: its neighbours
    are not made to stand for it. What bins do not cover counts as zero.

    Args:
        sinogram: line integrals in image units times mm.
        grid: where the pixels shall be.
        scan: where the rays are.
        window: factor on the ramp filter.

    Returns:
        The images, in image units.

    Raises:
        ValueError: the sinogram's shape is not the scan's, or the scan is a fan beam.

    Source:
        A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging, 1988, chapter 3;
        the ramp is the transform of its band-limited spatial kernel, so that means are right.

    Example:
        >>> grid, scan = ImageGrid((3, 3)), ParallelBeam((0.0, 1.6), n_detectors=3)
        >>> filtered_backprojection(torch.zeros(5, 2, 3), grid, scan).shape
        torch.Size([5, 3, 3])
    """
    if tuple(sinogram.shape[-2:]) != (scan.n_views, scan.n_detectors):
        raise ValueError(
            f"sinogram: expected shape [..., {scan.n_views}, {scan.n_detectors}] (the scan's views "
            f"and detectors), got {list(sinogram.shape)}."
        )
    if not isinstance(scan, ParallelBeam):
        raise ValueError(f"scan: expected a ParallelBeam, got a {type(scan).__name__}.")
    filtered = _filter(sinogram, scan.detector_spacing, window)
    # a zero at each end: interpolation past the last bin falls to nothing
    padded = torch.nn.functional.pad(filtered, (1, 1))
    x = grid.x_positions.to(sinogram.device)[None, :]
    y = grid.y_positions.to(sinogram.device)[:, None]
    image = sinogram.new_zeros(*sinogram.shape[:-2], *grid.shape)
    for view, (angle, weight) in enumerate(zip(scan.angles, _view_weights(scan), strict=True)):
        s = x * math.cos(angle) + y * math.sin(angle)
        low, above = _neighbours(s / scan.detector_spacing + scan.center, scan.n_detectors)
        bins = padded[..., view, :] * weight
        image += torch.lerp(bins[..., low], bins[..., low + 1], above.to(bins.dtype))
    return image


def _filter(
    sinogram: Float[Tensor, "*batch views detectors"], spacing: float, window: Window
) -> Float[Tensor, "*batch views detectors"]:
    n = sinogram.shape[-1]
    length = 2 ** math.ceil(math.log2(max(2 * n, 64)))  # zeros, so that views do not wrap around
    offset = torch.arange(length, dtype=torch.float64, device=sinogram.device)
    offset = torch.minimum(offset, length - offset)
    # spacing × the ramp's band-limited kernel: ¼ at zero, −1/(πn)² at odd n, nothing at even n
    kernel = torch.where(offset % 2 == 1, -1 / (math.pi * offset.clamp(min=1)) ** 2, 0.0)
    kernel[0] = 0.25
    kernel /= spacing
    frequency = torch.linspace(0, 1, length // 2 + 1, dtype=torch.float64, device=sinogram.device)
    response = torch.fft.rfft(kernel).real * window(frequency)
    spectrum = torch.fft.rfft(sinogram, n=length) * response.to(sinogram.dtype)
    filtered: Tensor = torch.fft.irfft(spectrum, n=length)
    return filtered[..., :n]


def _view_weights(scan: ParallelBeam) -> list[float]:
    angles, order = torch.tensor(scan.angles, dtype=torch.float64).remainder(math.pi).sort()
    after = torch.diff(angles, append=angles[:1] + math.pi)
    median = after[after > 1e-9].median()  # over a full turn views coincide modulo π
    after = torch.where(after > _MISSING_WEDGE * median, median, after)
    weights = torch.empty_like(angles)
    weights[order] = (after + after.roll(1)) / 2
    return weights.tolist()


def _neighbours(
    position: Float64[Tensor, "rows columns"], n: int
) -> tuple[Int64[Tensor, "rows columns"], Float64[Tensor, "rows columns"]]:
    """Return the bin below each position, counted with the padding, and the fraction above it."""
    position = (position + 1).clamp(0, n + 1)
    low = position.floor().clamp(max=n)
    return low.long(), position - low
