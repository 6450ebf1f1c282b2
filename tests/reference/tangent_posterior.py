"""The posterior of an infinitely wide network over a small scan, by dense matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bayesnn.kernels import ntk
from ct.inr.wide_network import WideImage
from ct.posterior.image_model import ImageModel


@dataclass(frozen=True)
class TangentPosterior:
    """N(mean, covariance) of the image in the network's units, [pixels].

    Attributes:
        mean: level + gain (y − A level).
        covariance: prior − gain A prior.
        gain: prior Aᵀ (A prior Aᵀ + σ²)⁻¹, [pixels, rays].
        prior: Θ, scaled.
    """

    mean: Tensor
    covariance: Tensor
    gain: Tensor
    prior: Tensor

    @property
    def std(self) -> Tensor:
        """Of each pixel."""
        return self.covariance.diagonal().clamp(min=0).sqrt()


def tangent_posterior(model: ImageModel, *, prior_std: float) -> TangentPosterior:
    """Return y ↦ Θ Aᵀ (A Θ Aᵀ + σ²)⁻¹ y about the network's level, with Θ scaled to prior_std²."""
    network, problem = model.network, model.problem
    assert isinstance(network, WideImage)
    kernel = ntk(network.body)(network.points.double())
    kernel = kernel * prior_std**2 / kernel[0, 0]
    n = len(kernel)
    identity = torch.eye(n, dtype=torch.float64).reshape(n, *problem.grid.shape)
    a = problem.projector(identity).reshape(n, -1).T
    noise = problem.noise_std.double().flatten().square()
    gram = a @ kernel @ a.T + noise.diag()
    gain = torch.linalg.solve(gram, a @ kernel).T
    residual = problem.sinogram.double().flatten() - network.start * a.sum(1)
    covariance = kernel - gain @ (a @ kernel)
    return TangentPosterior(network.start + gain @ residual, covariance, gain, kernel)
