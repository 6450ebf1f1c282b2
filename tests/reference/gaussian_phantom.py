"""A Gaussian blob, whose line integrals are known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ct.geometry import ImageGrid, ParallelBeam


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

    def sinogram(self, scan: ParallelBeam) -> Tensor:
        """√(2π det Σ / v) · exp(−½ (s − m·n)²/v), n = (cos θ, sin θ), v = nᵀΣn."""
        angles = torch.tensor(scan.angles, dtype=torch.float64)[:, None]
        turned = angles - self.tilt
        v = (self.a * torch.cos(turned)) ** 2 + (self.b * torch.sin(turned)) ** 2
        middle = self.x * torch.cos(angles) + self.y * torch.sin(angles)
        exponent = -((scan.detector_positions - middle) ** 2) / (2 * v)
        return torch.sqrt(2 * math.pi / v) * self.a * self.b * torch.exp(exponent)
