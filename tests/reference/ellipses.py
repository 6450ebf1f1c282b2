"""Ellipses of constant value, whose line integrals are known in closed form, for any rays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesnn.seeds import seeded_generator
from ct.geometry import Scan


@dataclass(frozen=True)
class Ellipse:
    """`value` inside the ellipse around (x, y) with half axes a and b, a turned by `tilt`; mm."""

    value: float
    x: float
    y: float
    a: float
    b: float
    tilt: float

    def line_integrals(self, phi: Tensor, distance: Tensor) -> Tensor:
        """2ab √(q − d²)/q, q = a² cos² + b² sin² of φ − tilt, d the distance from the centre."""
        q = (self.a * torch.cos(phi - self.tilt)) ** 2 + (self.b * torch.sin(phi - self.tilt)) ** 2
        d = distance - self.x * torch.cos(phi) - self.y * torch.sin(phi)
        return 2 * self.value * self.a * self.b * (q - d * d).clamp(min=0).sqrt() / q


def random_ellipses(seed: int, *, radius: float, n_parts: int = 8) -> list[Ellipse]:
    """A body of value 1 that fills most of the radius, off the middle, with parts inside."""
    u = torch.rand(n_parts + 1, 6, generator=seeded_generator(seed), dtype=torch.float64).tolist()
    x, y = (0.2 * u[0][0] - 0.1) * radius, (0.2 * u[0][1] - 0.1) * radius
    body = Ellipse(1.0, x, y, 0.85 * radius, 0.7 * radius, math.pi * u[0][2])
    parts = [
        Ellipse(
            1.3 * p[0] - 0.5,
            x + 0.5 * radius * p[1] * math.cos(2 * math.pi * p[2]),
            y + 0.5 * radius * p[1] * math.sin(2 * math.pi * p[2]),
            (0.03 + 0.17 * p[3]) * radius,
            (0.03 + 0.17 * p[4]) * radius,
            math.pi * p[5],
        )
        for p in u[1:]
    ]
    return [body, *parts]


def line_integrals(ellipses: list[Ellipse], scan: Scan) -> Tensor:
    """Exact line integrals along the middle of every bin."""
    rays = scan.rays
    phi = torch.atan2(-rays.direction[..., 0], rays.direction[..., 1])
    return sum((e.line_integrals(phi, rays.distance) for e in ellipses), torch.zeros_like(phi))


def with_noise(clean: Tensor, *, snr_db: float, seed: int) -> tuple[Tensor, float]:
    """Add white noise of a signal-to-noise ratio; return its standard deviation too."""
    std = math.sqrt(float(clean.square().mean()) * 10 ** (-snr_db / 10))
    noise = torch.randn(clean.shape, generator=seeded_generator(seed, 1), dtype=clean.dtype)
    return clean + std * noise, std
