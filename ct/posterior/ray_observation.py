"""Line integrals as data that are linear functions of a network's values at the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ct.projectors.operator import Projector


@dataclass(frozen=True, kw_only=True)
class RayObservation:
    """H = factor · A as a dense matrix, from values [..., pixels, 1] to rays [..., rays, 1].

    For small scans, whose kernels go through it column by column: thousands of images a step.

    Attributes:
        matrix: H.
    """

    matrix: Float[Tensor, "rays pixels"]

    def __call__(self, values: Tensor) -> Tensor:
        """Return H·v."""
        return (values.squeeze(-1) @ self.matrix.mT).unsqueeze(-1)

    def transpose(self, cotangent: Tensor) -> Tensor:
        """Return Hᵀ·u."""
        return (cotangent.squeeze(-1) @ self.matrix).unsqueeze(-1)


def ray_observation(projector: Projector, *, factor: float, like: Tensor) -> RayObservation:
    """Return factor · A as a matrix.

    Args:
        projector: A.
        factor: what the network's values are multiplied by.
        like: gives dtype and device.

    Returns:
        H, of rays × pixels numbers.
    """
    rows, columns = projector.domain_shape
    n_pixels = rows * columns
    identity = torch.eye(n_pixels, dtype=like.dtype, device=like.device)
    images = identity.view(n_pixels, rows, columns)
    return RayObservation(matrix=factor * projector(images).view(n_pixels, -1).mT.contiguous())
