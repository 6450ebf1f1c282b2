"""What rays and total variation say of an image near a given one, as quadratic functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ct.classical.tv_differences import differences, differences_adjoint
from ct.projectors.operator import Projector


@dataclass(frozen=True, kw_only=True)
class RayCurvature:
    """P = AᵀΣ⁻¹A: the Hessian of ½ Σ_rays ((A f − y)/σ)².

    Attributes:
        projector: A.
        noise_std: σ of each ray, infinite for rays that were not measured.
    """

    projector: Projector
    noise_std: Float[Tensor, "views detectors"]

    def __call__(
        self, images: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch rows columns"]:
        """Return P f of each image."""
        return self.projector.T(self.projector(images) / self.noise_std.square())

    def draw(self, generator: torch.Generator) -> Float[Tensor, "rows columns"]:
        """Return one draw of N(0, P), AᵀΣ^(−½)ε."""
        noise = torch.randn(self.noise_std.shape, generator=generator).to(self.noise_std)
        return self.projector.T(noise / self.noise_std)


@dataclass(frozen=True, kw_only=True)
class VariationCurvature:
    """P = DᵀWD: a Gaussian that stands for the prior exp(−w · TV) near an image f̂.

    w|d| ≤ w|d|²/(2s) + ws/2 touches w|d| at |d| = s: the majoriser of iteratively reweighted least
    squares. With s = √(|D f̂|² + (3/w)²), W = w/s: at an edge the bound touches at the edge's own
    height, and where the image is flat the differences get the variance 3/w² that the prior gives
    them by itself (E|d|²/2 under the density ∝ exp(−w|d|) in the plane).

    Attributes:
        weights: W, one a pixel.

    Source:
        R. Barbano et al., Uncertainty estimation for computed tomography with a linearised deep
        image prior, TMLR 2023, have a Gaussian prior stand for total variation too, another one.
    """

    weights: Float[Tensor, "rows columns"]

    @classmethod
    def near(
        cls, image: Float[Tensor, "rows columns"], weight: Float[Tensor, ""]
    ) -> VariationCurvature:
        """Return the curvature of w · TV near an image.

        Args:
            image: f̂.
            weight: w, above zero.
        """
        squares = differences(image).square().sum(0)
        return cls(weights=weight / (squares + (3 / weight).square()).sqrt())

    def __call__(
        self, images: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch rows columns"]:
        """Return P f of each image."""
        return differences_adjoint(self.weights * differences(images))

    def draw(self, generator: torch.Generator) -> Float[Tensor, "rows columns"]:
        """Return one draw of N(0, P), DᵀW^½ε."""
        noise = torch.randn(2, *self.weights.shape, generator=generator).to(self.weights)
        return differences_adjoint(self.weights.sqrt() * noise)
