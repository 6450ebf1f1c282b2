"""A slice's rays with the noise they may have, some views at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from bayesnn.checks import as_finite_tensor
from ct.streamed_median import streamed_median

_AT_ONCE = 2**16
"""Rays in work at once: half a MiB in float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseRows:
    """The rays of one slice; what is computed of them is in float64.

    Attributes:
        values: line integrals, as they came.
        relative_std: noise of each ray up to a common factor, infinite where it was not measured;
            None for 1 everywhere.
    """

    values: Float[Tensor, "views detectors"]
    relative_std: Float[Tensor, "views detectors"] | None

    def of(self, views: range) -> Float64[Tensor, "some detectors"]:
        """Return the line integrals of some views."""
        return self.values[views.start : views.stop].double()

    def variance(self, views: range) -> Float64[Tensor, "some detectors"]:
        """Return the relative variance of some views' rays; NaN for those that do not count.

        Rays that are exactly zero (padding, dead detectors) do not, and the mark NaN spreads to all
        sums that they are part of.
        """
        values = self.values[views.start : views.stop]
        if self.relative_std is None:
            variance = torch.ones_like(values, dtype=torch.float64)
        else:
            given = self.relative_std[views.start : views.stop].to(values.device, torch.float64)
            variance = torch.where(given.isfinite(), given.square(), math.nan)
        return torch.where(values != 0, variance, math.nan)

    def blocks(self, *, overlap: int = 0) -> Iterator[range]:
        """Yield all views, some at a time; each block also has the first views of the next."""
        n_views, n_detectors = self.values.shape
        step = max(1, _AT_ONCE // n_detectors)
        for first in range(0, n_views - overlap, step):
            yield range(first, min(first + step + overlap, n_views))

    def counted(self) -> tuple[int, float]:
        """Return how many rays count, and the sum of their relative variances."""
        number, total = 0, 0.0
        for views in self.blocks():
            variance = self.variance(views)
            number += int(variance.isfinite().sum())
            total += float(variance.nansum())
        return number, total

    def usual_variance(self) -> float:
        """Return the median relative variance of the rays that count."""
        if self.relative_std is None:
            return 1.0

        def counted() -> Iterator[Float64[Tensor, " some"]]:
            for views in self.blocks():
                variance = self.variance(views)
                yield variance[variance.isfinite()]

        return streamed_median(counted, at_most=self.values.numel())[0]


def noise_rows(
    sinogram: Tensor | NDArray[Any], relative_std: Tensor | NDArray[Any] | None
) -> NoiseRows:
    """Return a slice's rays, checked.

    Args:
        sinogram: [views, detectors], line integrals.
        relative_std: [views, detectors], noise of each ray up to a common factor; None for 1.

    Returns:
        The rays; no copy of float32 or float64 is made.

    Raises:
        ValueError: not two-dimensional, not finite, or noise of another shape or not above 0.
    """
    short = getattr(sinogram, "dtype", None) in {torch.float32, np.dtype(np.float32)}
    dtype = torch.float32 if short else torch.float64
    values = as_finite_tensor(sinogram, "sinogram", ndim=(2,), dtype=dtype)
    if relative_std is None:
        return NoiseRows(values=values, relative_std=None)
    given = relative_std
    if not isinstance(given, Tensor):
        given = torch.as_tensor(np.asarray(given))
    if given.shape != values.shape or not float(given.min()) > 0:
        raise ValueError(
            f"relative_std: expected numbers above 0 (or infinity) of shape {tuple(values.shape)}, "
            f"got shape {tuple(given.shape)} and a smallest of {float(given.min()):g}."
        )
    return NoiseRows(values=values, relative_std=given)
