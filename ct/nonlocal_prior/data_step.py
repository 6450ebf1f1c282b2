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
_LEAST_TOLD = 0.02  # of what rays tell of a pixel on average


@dataclass(frozen=True, kw_only=True)
class DataStep:
    """x = argmin ½ Σ_rays w (A x − y)² + ρ/2 Σ_pixels t (x − guess)², by conjugate gradients.

    t is what the rays tell of a pixel, so that ρ weighs the guess the same in every pixel, however
    unequally noisy the rays are.

    Attributes:
        rays: A, y and w = 1/σ².
        gram: an approximation of AᵀA at each frequency of `torch.fft.rfft2`.
        told: t, about diag AᵀwA: the precision of a pixel of which all rays through it told alone.
        diagonal: the mean of diag AᵀA.
    """

    rays: LeastSquares
    gram: Float[Tensor, "rows frequencies"]
    told: Float[Tensor, "slices rows columns"]
    diagonal: Float[Tensor, ""]

    def __call__(
        self, guess: Float[Tensor, "slices rows columns"], weight: float, iterations: int
    ) -> Float[Tensor, "slices rows columns"]:
        """Return x, starting from the guess.

        Args:
            guess: an image a slice.
            weight: ρ, above 0.
            iterations: how many; the search directions are preconditioned by
                t^(−½) (`gram`/`diagonal` + ρ)⁻¹ t^(−½), the inverse of the whole where t is smooth.
        """
        A, precision = self.rays.projector, self.rays.precision
        prior = weight * self.told
        response = 1 / (self.gram / self.diagonal + weight)
        root = self.told.rsqrt()
        image = guess
        residual = A.T(precision * (self.rays.sinograms - A(guess)))
        preconditioned = root * apply_filter(root * residual, response)
        direction = preconditioned
        size = _product(residual, preconditioned)
        for _ in range(iterations):
            moved = A.T(precision * A(direction)) + prior * direction
            # both vanish where there is nothing left to do
            length = size / _product(direction, moved).clamp(min=_tiny(size))
            image = image + length * direction
            residual = residual - length * moved
            preconditioned = root * apply_filter(root * residual, response)
            before, size = size, _product(residual, preconditioned)
            direction = preconditioned + size / before.clamp(min=_tiny(size)) * direction
        return image


def data_step(rays: LeastSquares, gram: Float[Tensor, "rows frequencies"]) -> DataStep:
    """Return the step for slices of one scan.

    Args:
        rays: what was measured.
        gram: an approximation of AᵀA, such as `ct.classical.primal_dual_metric.Metric.projection`.
    """
    A = rays.projector
    rows, columns = A.domain_shape
    probes = torch.randn(_PROBES, rows, columns, generator=seeded_generator(0)).to(rays.sinograms)
    diagonal = A(probes).square().mean(0).sum() / (rows * columns)
    diagonal = diagonal.clamp(min=_tiny(diagonal))
    reached = A.T(torch.ones_like(rays.precision[0]))
    precision = A.T(rays.precision) / reached.clamp(min=_tiny(reached))
    usual = precision.mean((-2, -1), keepdim=True)
    # a pixel that no ray tells of takes the guess, for which any positive weight will do
    told = diagonal * precision.clamp(min=_LEAST_TOLD * usual).clamp(min=_tiny(usual) ** 0.5)
    return DataStep(rays=rays, gram=gram, told=told, diagonal=diagonal)


def _product(a: Tensor, b: Tensor) -> Float[Tensor, "slices 1 1"]:
    return (a * b).sum((-2, -1), keepdim=True)


def _tiny(like: Tensor) -> float:
    return torch.finfo(like.dtype).tiny
