"""The conditional mean of a Gaussian random image given its rays, by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from ct.posterior.infinite_width_scan import WhitenedScan

_REFINEMENTS = 3


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Images that explain rays: E[f | r] for each r.

    Attributes:
        images: C Bᵀ (B C Bᵀ + I)⁻¹ r.
        left: what the images leave of the rays, r − B·images.
        weights: the images in the prior's own units: images = C^½ weights.
        residuals: of the equations, relative, computed anew at the end.
        iterations: products with B and Bᵀ, apart from those of residuals computed anew.
    """

    images: Float[Tensor, "systems rows columns"]
    left: Float[Tensor, "systems views detectors"]
    weights: Tensor
    residuals: Float64[Tensor, " systems"]
    iterations: int

    def part(self, index: int) -> Fit:
        """Return the fit of one of the rays alone."""
        one = slice(index, index + 1)
        return Fit(
            images=self.images[one],
            left=self.left[one],
            weights=self.weights[one],
            residuals=self.residuals[one],
            iterations=self.iterations,
        )


@runtime_checkable
class Solver(Protocol):
    """What explains rays by images."""

    def solve(self, rays: Float[Tensor, "systems views detectors"], *, tolerance: float) -> Fit:
        """Return E[f | r] of each r."""
        ...

    def overlap(self, one: Fit, other: Fit) -> Float64[Tensor, " systems"]:
        """Return r₁ᵀ(B C Bᵀ + I)⁻¹r₂ for one fit of a single r₁ and every r₂."""
        ...


@dataclass(frozen=True, kw_only=True)
class WeightSpace:
    """Conjugate gradients on the weights w of the padded grid's frequencies, f = C^½ w.

    With H = B C^½, where C^½ filters white noise on the padded grid,

        (I + HᵀH) w = Hᵀ r

    is preconditioned by 1/(1 + λ(ω) a(ω)): λ the kernel's spectrum, a the scan's response. It has
    the eigenvalues of B C Bᵀ + I, but measures errors in the image, where that measures them in
    the rays: noise that no image explains costs no iterations.

    Source:
        S. Gratton, J. Tshimanga, An observation-space formulation of variational assimilation
        using a restricted preconditioned conjugate gradient algorithm, QJRMS 135, 2009, on why
        ray space converges worse.

    Attributes:
        scan: B and C; the kernel must be `embedded`.
        max_iterations: between two residuals that are computed anew.
    """

    scan: WhitenedScan
    max_iterations: int = 200

    def solve(self, rays: Float[Tensor, "systems views detectors"], *, tolerance: float) -> Fit:
        """Return E[f | r] of each r.

        Args:
            rays: r, in units of the noise.
            tolerance: of the residual in the preconditioner's norm, relative to Hᵀr.

        Returns:
            The fit; where rounding keeps a residual above the tolerance, that is what it says.
        """
        target = self._adjoint(rays)
        goal = tolerance * self._norm(target)
        weights, residual = torch.zeros_like(target), target
        iterations = 0
        for _ in range(_REFINEMENTS):
            step, taken = self._descend(residual, goal)
            weights += step
            iterations += taken
            images = self._images(weights)
            left = rays - self.scan.project(images)
            residual = self._adjoint(left) - weights
            norms = self._norm(residual)
            near = norms <= 2 * goal
            if bool(near.all()):
                break
            residual = torch.where(near[:, None, None], 0.0, residual)
        tiny = torch.finfo(torch.float64).tiny
        return Fit(
            images=images,
            left=left,
            weights=weights,
            residuals=norms / self._norm(target).clamp(min=tiny),
            iterations=iterations,
        )

    def overlap(self, one: Fit, other: Fit) -> Float64[Tensor, " systems"]:
        """Return r₁ᵀ(HHᵀ + I)⁻¹r₂ as left₁·left₂ + w₁·w₂, whose error is a product of two."""
        rays = (one.left.double() * other.left).sum((-2, -1))
        return rays + self._dot(one.weights, other.weights)

    def _descend(
        self,
        residual: Complex[Tensor, "systems rows frequencies"],
        goal: Float64[Tensor, " systems"],
    ) -> tuple[Complex[Tensor, "systems rows frequencies"], int]:
        """Return what conjugate gradients add to the weights, and their number."""
        precondition = 1 / (1 + self.scan.kernel.eigenvalues.clamp(min=0) * self.scan.response)
        total = torch.zeros_like(residual)
        solved = precondition * residual
        direction, power = solved, self._dot(residual, solved)
        for iteration in range(self.max_iterations):
            going = power.sqrt() > goal
            if not bool(going.any()):
                return total, iteration
            product = direction + self._adjoint(self.scan.project(self._images(direction)))
            curvature = self._dot(direction, product)
            # a system that is solved stays where it is, whatever others are solved beside it
            length = torch.where(going, power / curvature, 0.0).to(precondition.dtype)
            total = total + length[:, None, None] * direction
            residual = residual - length[:, None, None] * product
            solved = precondition * residual
            before, power = power, self._dot(residual, solved)
            ratio = torch.where(going, power / before, 0.0).to(precondition.dtype)
            direction = solved + ratio[:, None, None] * direction
        return total, self.max_iterations

    def _norm(self, weights: Complex[Tensor, "systems rows frequencies"]) -> Tensor:
        kernel = self.scan.kernel
        precondition = 1 / (1 + kernel.eigenvalues.clamp(min=0) * self.scan.response)
        return self._dot(weights, precondition * weights).sqrt()

    def _images(self, weights: Tensor) -> Tensor:
        return self.scan.kernel.from_weights(weights)

    def _adjoint(self, rays: Tensor) -> Tensor:
        return self.scan.kernel.to_weights(self.scan.backproject(rays))

    def _dot(self, one: Tensor, other: Tensor) -> Float64[Tensor, " systems"]:
        return self.scan.kernel.dot(one, other)
