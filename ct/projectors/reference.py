"""The projector as one reads it in a paper: slow, without a matrix, for checking the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ct.geometry import ImageGrid, Scan
from ct.projectors.operator import Projector


def reference_projector(grid: ImageGrid, scan: Scan) -> Projector:
    """Joseph's method, view by view and row by row, from the definition.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The same map as `ct.projector`, to rounding.
    """
    rows, columns = grid.shape

    def forward(images: Tensor) -> Tensor:
        sinogram = images.new_zeros(len(images), scan.n_views, scan.n_detectors)
        for view, angle in enumerate(scan.angles):
            lines = images if _crosses_rows(angle) else images.mT
            for i in range(lines.shape[1]):
                low, above, length = _crossing(grid, scan, angle, i)
                low, fraction = low.to(images.device), above.to(images)
                padded = torch.nn.functional.pad(lines[:, i], (1, 1))
                value = padded[:, low] * (1 - fraction) + padded[:, low + 1] * fraction
                sinogram[:, view] += length * value
        return sinogram

    def adjoint(sinograms: Tensor) -> Tensor:
        images = sinograms.new_zeros(len(sinograms), rows, columns)
        for view, angle in enumerate(scan.angles):
            lines = images if _crosses_rows(angle) else images.mT
            for i in range(lines.shape[1]):
                low, above, length = _crossing(grid, scan, angle, i)
                low, fraction = low.to(sinograms.device), above.to(sinograms)
                padded = sinograms.new_zeros(len(sinograms), lines.shape[2] + 2)
                value = length * sinograms[:, view]
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


def _crosses_rows(angle: float) -> bool:
    return abs(math.cos(angle)) >= abs(math.sin(angle))


def _crossing(grid: ImageGrid, scan: Scan, angle: float, i: int) -> tuple[Tensor, Tensor, float]:
    """Return where rays cross row (or column) i: index in the padded line, fraction, mm."""
    cos, sin = math.cos(angle), math.sin(angle)
    if _crosses_rows(angle):
        x = (scan.detector_positions - grid.y_positions[i] * sin) / cos
        position = (x - grid.x_positions[0]) / grid.pixel_size
        n, length = grid.shape[1], grid.pixel_size / abs(cos)
    else:
        y = (scan.detector_positions - grid.x_positions[i] * cos) / sin
        position = (grid.y_positions[0] - y) / grid.pixel_size
        n, length = grid.shape[0], grid.pixel_size / abs(sin)
    # one zero before and after: rays that miss the line interpolate between zeros
    position = (position + 1).clamp(0, n + 1)
    low = position.floor().clamp(max=n).long()
    return low, position - low, length
