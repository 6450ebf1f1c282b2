"""The peer on a GPU: line integrals by `grid_sample` at points along every ray, and their sum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ct.geometry import ImageGrid, Scan


class GridSampleProjector:
    """What one writes in torch: the image at points of every ray, summed (a rotation, if parallel).

    Points stand one pixel apart along the rays, over the image's diagonal, and are computed once.
    Views go in chunks; the adjoint is autograd's.
    """

    def __init__(self, grid: ImageGrid, scan: Scan, *, chunk: int, device: torch.device) -> None:
        point, direction = scan.rays.point.to(device), scan.rays.direction.to(device)
        h = grid.pixel_size
        n = 2 * int(grid.radius / h) + 1
        steps = (torch.arange(n, device=device) - (n - 1) / 2) * h
        # from the foot of the perpendicular from the origin
        foot = point - (point * direction).sum(-1, keepdim=True) * direction
        half = torch.tensor([grid.shape[1], -grid.shape[0]], device=device) * h / 2
        self._points = [
            ((feet[:, :, None] + steps[:, None] * along[:, :, None]) / half).float()
            for feet, along in zip(foot.split(chunk), direction.split(chunk), strict=True)
        ]
        self._step = h

    def __call__(self, images: Tensor) -> Tensor:
        """Return sinograms [batch, views, detectors] of images [batch, rows, columns]."""
        parts = []
        for points in self._points:
            slices = images[None].expand(len(points), -1, -1, -1)
            parts.append(grid_sample(slices, points, align_corners=False).sum(dim=-1))
        return torch.cat(parts).transpose(0, 1) * self._step
