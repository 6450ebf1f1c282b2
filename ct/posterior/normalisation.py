"""The range of an image that nobody has seen yet."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from ct.classical.filtered_backprojection import filtered_backprojection
from ct.problem import Problem

_OUTER = 0.005  # the share of pixels beyond each end: streaks of few views


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """Image values x = offset + scale · u, with u at about [0, 1].

    Attributes:
        offset: the value of u = 0, in image units.
        scale: how far above it u = 1 lies.
        level: the u of the constant image that fits the sinogram best.
    """

    offset: float
    scale: float
    level: float

    def to_image(
        self, u: Float[Tensor, "*batch rows columns"]
    ) -> Float[Tensor, "*batch rows columns"]:
        """Return x, of any number of u."""
        return self.offset + self.scale * u

    def normalised(self, problem: Problem) -> Problem:
        """Return the problem whose image is u."""
        ones = problem.sinogram.new_ones(problem.grid.shape)
        return replace(
            problem,
            sinogram=(problem.sinogram - self.offset * problem.projector(ones)) / self.scale,
            noise_std=problem.noise_std / self.scale,
        )


def value_range(problem: Problem, *, lowest: float | None = None) -> ValueRange:
    """Estimate where an image's values lie, from its sinogram.

    Offset and scale are quantiles, 0.5 % and 99.5 %, of a filtered back-projection, so they follow
    the sinogram's units, and the offset follows a constant that is added to the image. Where the
    quantiles are equal (an empty scan), the scale is an image that would be as large as the noise.

    Args:
        problem: what was measured.
        lowest: the offset where it is known, such as 0 for air; None to estimate it.

    Returns:
        The range.
    """
    image = filtered_backprojection(problem.sinogram, problem.grid, problem.scan)
    # sorted by hand, because torch.quantile refuses large images
    ordered = image.flatten().double().sort().values
    last = ordered.numel() - 1
    low, high = (float(ordered[round(share * last)]) for share in (_OUTER, 1 - _OUTER))
    low = low if lowest is None else lowest
    width = max(problem.grid.shape) * problem.grid.pixel_size
    noise = problem.noise_std[problem.noise_std.isfinite()]  # of the rays that were measured
    scale = max(high - low, float(noise.median()) / width)
    lengths = problem.projector(problem.sinogram.new_ones(problem.grid.shape)).double()
    constant = float((lengths * problem.sinogram).sum() / lengths.square().sum())
    # links cannot start at an end of the range
    level = min(max((constant - low) / scale, 0.05), 0.95)
    return ValueRange(offset=low, scale=scale, level=level)
