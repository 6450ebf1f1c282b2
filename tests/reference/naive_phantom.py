"""Phantoms and their line integrals by sampling, from the definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ct.data.ellipses import EllipsePhantom
from ct.geometry import ImageGrid
from ct.rays import Rays


def value_at(phantom: EllipsePhantom, x: Tensor, y: Tensor) -> Tensor:
    """The phantom's value at points: the sum over the ellipses that a point lies in."""
    total = torch.zeros(torch.broadcast_shapes(x.shape, y.shape), dtype=torch.float64)
    for e in phantom.ellipses:
        turned = (x - e.x + 1j * (y - e.y)) * complex(math.cos(e.tilt), -math.sin(e.tilt))
        inside = (turned.real / e.half_width) ** 2 + (turned.imag / e.half_height) ** 2 <= 1
        total += e.value * inside.double()
    return total


def sampled_integrals(phantom: EllipsePhantom, rays: Rays, *, step: float, radius: float) -> Tensor:
    """Line integrals by the midpoint rule over the part of each ray within `radius` mm."""
    nearest = -(rays.point * rays.direction).sum(dim=-1, keepdim=True)
    times = nearest + torch.arange(-radius + step / 2, radius, step, dtype=torch.float64)
    x = rays.point[..., 0, None] + rays.direction[..., 0, None] * times
    y = rays.point[..., 1, None] + rays.direction[..., 1, None] * times
    return value_at(phantom, x, y).sum(dim=-1) * step


def sampled_image(phantom: EllipsePhantom, grid: ImageGrid, *, points: int) -> Tensor:
    """The mean of points² values in every pixel."""
    within = ((torch.arange(points, dtype=torch.float64) + 0.5) / points - 0.5) * grid.pixel_size
    x = (grid.x_positions[:, None] + within).flatten()
    y = (grid.y_positions[:, None] - within).flatten()
    fine = value_at(phantom, x[None, :], y[:, None])
    rows, columns = grid.shape
    return fine.reshape(rows, points, columns, points).mean(dim=(1, 3))
