"""The same conditional mean where the kernel has no embedding: conjugate gradients on the rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from bayesnn.gp.conjugate_gradients import conjugate_gradients
from ct.posterior.infinite_width_scan import WhitenedScan
from ct.posterior.infinite_width_solver import Fit


@dataclass(frozen=True, kw_only=True)
class RaySpace:
    """Conjugate gradients on (B C Bᵀ + I) β = r, the image being C Bᵀ β.

    Only products with C are needed, which are exact without an embedding. The preconditioner
    divides each view's Fourier transform by 1 + λ(ω) a(ω), with the kernel's spectrum λ and the
    scan's response a. Residuals are computed anew by `bayesnn.gp.conjugate_gradients`; the sums are
    float64, the products in the scan's own dtype.

    Attributes:
        scan: B and C.
        spectrum: 1 + λ(ω) a(ω) at the frequencies of a view.
        max_iterations: products with B C Bᵀ, at most.
    """

    scan: WhitenedScan
    spectrum: Float64[Tensor, " frequencies"]
    max_iterations: int = 1000

    def solve(self, rays: Float[Tensor, "systems views detectors"], *, tolerance: float) -> Fit:
        """Return E[f | r] of each r.

        Args:
            rays: r, in units of the noise.
            tolerance: of the residual relative to r.

        Returns:
            The fit.
        """
        seen = self.scan.scaling > 0
        columns = torch.where(seen, rays, 0.0).flatten(1).T.double()
        goal = columns.new_full((columns.shape[1],), tolerance)
        solution = conjugate_gradients(
            self, self.precondition, columns, tolerance=goal, max_iterations=self.max_iterations
        )
        weights = self._rays(solution.values).to(rays)
        images = self.scan.kernel.times(self.scan.backproject(weights))
        return Fit(
            images=images,
            left=rays - self.scan.project(images),
            weights=weights,
            residuals=solution.residuals,
            iterations=solution.iterations,
        )

    def overlap(self, one: Fit, other: Fit) -> Float64[Tensor, " systems"]:
        """Return r₁ᵀ(B C Bᵀ + I)⁻¹r₂ = (left₁ + B images₁)·β₂ of the rays that were measured."""
        rays = one.left + self.scan.project(one.images)
        return (rays.double() * other.weights).sum((-2, -1))

    def times(self, v: Tensor) -> Tensor:
        """Return (B C Bᵀ + I) v of each column."""
        images = self.scan.backproject(self._rays(v).to(self.scan.scaling))
        product = self.scan.project(self.scan.kernel.times(images))
        return product.flatten(1).T.double() + v

    def times_exactly(self, v: Tensor) -> Tensor:
        """Return the same: there is no product of higher precision."""
        return self.times(v)

    def precondition(self, v: Tensor) -> Tensor:
        """Return v with each view's Fourier transform over the spectrum, at the rays measured."""
        rays = self._rays(v)
        filtered = torch.fft.irfft(torch.fft.rfft(rays) / self.spectrum, n=rays.shape[-1])
        return torch.where(self.scan.scaling > 0, filtered, 0.0).flatten(1).T

    def _rays(self, columns: Tensor) -> Tensor:
        return columns.T.reshape(-1, *self.scan.scaling.shape)
