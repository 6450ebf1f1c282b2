"""The projector as one reads it in a paper: slow, without a matrix, for checking the others."""

from __future__ import annotations

import torch
from torch import Tensor

from ct.geometry import ImageGrid, Scan, check_fits
from ct.projectors.operator import Projector
from ct.rays import Rays


def reference_projector(grid: ImageGrid, scan: Scan) -> Projector:
    """Joseph's method, view by view and row by row, from the definition.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The same map as `ct.projector`, to rounding.
    """
    check_fits(grid, scan)
    rows, columns = grid.shape
    rays = scan.rays
    by_rows = _crosses_rows(rays)

    def forward(images: Tensor) -> Tensor:
        sinogram = images.new_zeros(len(images), scan.n_views, scan.n_detectors)
        for view in range(scan.n_views):
            for lines, steep in ((images, by_rows[view]), (images.mT, ~by_rows[view])):
                for i in range(lines.shape[1] if steep.any() else 0):
                    low, above, length = _crossing(grid, rays, view, i, rows=lines is images)
                    low, fraction = low.to(images.device), above.to(images)
                    padded = torch.nn.functional.pad(lines[:, i], (1, 1))
                    value = padded[:, low] * (1 - fraction) + padded[:, low + 1] * fraction
                    sinogram[:, view] += (length * steep).to(images) * value
        return sinogram

    def adjoint(sinograms: Tensor) -> Tensor:
        images = sinograms.new_zeros(len(sinograms), rows, columns)
        for view in range(scan.n_views):
            for lines, steep in ((images, by_rows[view]), (images.mT, ~by_rows[view])):
                for i in range(lines.shape[1] if steep.any() else 0):
                    low, above, length = _crossing(grid, rays, view, i, rows=lines is images)
                    low, fraction = low.to(images.device), above.to(images)
                    padded = sinograms.new_zeros(len(sinograms), lines.shape[2] + 2)
                    value = (length * steep).to(images) * sinograms[:, view]
                    padded.index_add_(1, low, value * (1 - fraction))
                    padded.index_add_(1, low + 1, value * fraction)
                    lines[:, i] += padded[:, 1:-1]
        return images

    return Projector(
        domain_shape=grid.shape,
        range_shape=(scan.n_views, scan.n_detectors),
        forward=forward,
        adjoint=adjoint,
    )


def _crosses_rows(rays: Rays) -> Tensor:
    """Return whether a ray is steep; along a diagonal both choices give the same weights."""
    right, up = rays.direction.abs().unbind(-1)
    return up >= right


def _crossing(
    grid: ImageGrid, rays: Rays, view: int, i: int, *, rows: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where a view's rays cross row (or column) i: index in the padded line, fraction, mm.

    Rays that never cross it, because they run along it, get a place that is not used.
    """
    (x, y), (right, up) = rays.point[view].unbind(-1), rays.direction[view].unbind(-1)
    if rows:
        time = (grid.y_positions[i] - y) / up
        position = (x + time * right - grid.x_positions[0]) / grid.pixel_size
        n, length = grid.shape[1], grid.pixel_size / up.abs()
    else:
        time = (grid.x_positions[i] - x) / right
        position = (grid.y_positions[0] - (y + time * up)) / grid.pixel_size
        n, length = grid.shape[0], grid.pixel_size / right.abs()
    # one zero before and after: rays that miss the line interpolate between zeros
    position = (position + 1).nan_to_num().clamp(0, n + 1)
    low = position.floor().clamp(max=n).long()
    return low, position - low, length.nan_to_num(posinf=0)
