"""A Gaussian blob, whose line integrals are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ct.geometry import ImageGrid, Scan


@dataclass(frozen=True)
class GaussianBlob:
    """exp(−½ (r − m)ᵀ Σ⁻¹ (r − m)), m = (x, y), Σ = diag(a², b²) turned by `tilt`; all in mm."""

    x: float
    y: float
    a: float
    b: float
    tilt: float

    def image(self, grid: ImageGrid) -> Tensor:
        x = grid.x_positions[None, :] - self.x
        y = grid.y_positions[:, None] - self.y
        along = x * math.cos(self.tilt) + y * math.sin(self.tilt)
        across = y * math.cos(self.tilt) - x * math.sin(self.tilt)
        return torch.exp(-((along / self.a) ** 2 + (across / self.b) ** 2) / 2)

    def sinogram(self, scan: Scan) -> Tensor:
        """√(2π det Σ / v) · exp(−½ (s − m·n)²/v), n = (cos θ, sin θ), v = nᵀΣn."""
        rays = scan.rays
        cos, sin = rays.direction[..., 1], -rays.direction[..., 0]
        turned = torch.atan2(sin, cos) - self.tilt
        v = (self.a * torch.cos(turned)) ** 2 + (self.b * torch.sin(turned)) ** 2
        middle = self.x * cos + self.y * sin
        exponent = -((rays.distance - middle) ** 2) / (2 * v)
        return torch.sqrt(2 * math.pi / v) * self.a * self.b * torch.exp(exponent)
