"""The image nearest to a guess among those that explain the rays: one quadratic problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.classical.least_squares import LeastSquares
from ct.classical.primal_dual_metric import apply_filter

_PROBES = 4


@dataclass(frozen=True, kw_only=True)
class DataStep:
    """x = argmin ½ Σ_rays w (A x − y)² + ρ/2 ‖x − guess‖² of each slice, by conjugate gradients.

    Attributes:
        rays: A, y and w = 1/σ².
        gram: an approximation of AᵀA at each frequency of `torch.fft.rfft2`.
        pixel_std: σ of a pixel of which all rays through it told alone, (diag AᵀwA)^(−1/2) on
            average: the scale of noise in an image.
    """

    rays: LeastSquares
    gram: Float[Tensor, "rows frequencies"]
    pixel_std: Float[Tensor, "slices 1 1"]

    def __call__(
        self,
        guess: Float[Tensor, "slices rows columns"],
        weight: Float[Tensor, "slices 1 1"],
        iterations: int,
    ) -> Float[Tensor, "slices rows columns"]:
        """Return x, starting from the guess.

        Args:
            guess: an image a slice.
            weight: ρ, above 0.
            iterations: how many; the search directions are preconditioned by the filter
                (`gram` · mean w + ρ)⁻¹.
        """
        A, precision = self.rays.projector, self.rays.precision
        mean_precision = precision.mean((-2, -1), keepdim=True)
        response = 1 / (self.gram * mean_precision + weight)
        image = guess
        residual = A.T(precision * (self.rays.sinograms - A(guess)))
        preconditioned = apply_filter(residual, response)
        direction = preconditioned
        size = _product(residual, preconditioned)
        for _ in range(iterations):
            moved = A.T(precision * A(direction)) + weight * direction
            # both vanish where there is nothing left to do
            length = size / _product(direction, moved).clamp(min=_tiny(size))
            image = image + length * direction
            residual = residual - length * moved
            preconditioned = apply_filter(residual, response)
            before, size = size, _product(residual, preconditioned)
            direction = preconditioned + size / before.clamp(min=_tiny(size)) * direction
        return image


def data_step(rays: LeastSquares, gram: Float[Tensor, "rows frequencies"]) -> DataStep:
    """Return the step for slices of one scan.

    Args:
        rays: what was measured.
        gram: an approximation of AᵀA, such as `ct.classical.primal_dual_metric.Metric.projection`.
    """
    rows, columns = rays.projector.domain_shape
    probes = torch.randn(_PROBES, rows, columns, generator=seeded_generator(0)).to(rays.sinograms)
    seen = rays.projector(probes).square().mean(0)
    told = (rays.precision * seen).sum((-2, -1), keepdim=True) / (rows * columns)
    return DataStep(
        rays=rays,
        gram=gram,
        pixel_std=told.clamp(min=_tiny(told)).rsqrt(),
    )


def _product(a: Tensor, b: Tensor) -> Float[Tensor, "slices 1 1"]:
    return (a * b).sum((-2, -1), keepdim=True)


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
