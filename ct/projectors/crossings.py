"""Where rays cross the rows or columns of a grid: what every Joseph projector starts from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from ct.geometry import ImageGrid, Scan


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossings:
    """Each ray's path through the grid's lines: its rows where it is steep, else its columns.

    A ray meets line i (row i, or column i) between two of the line's pixels, at index
    first + i · step along the line, and runs `length` mm within the line.

    Attributes:
        by_rows: whether the lines are rows.
        first: index of the pixel, whole or not, at which the ray meets line 0.
        step: by how much the index grows from line to line, within ±1.
        length: mm in each line.
    """

    by_rows: Bool[Tensor, "views detectors"]
    first: Float64[Tensor, "views detectors"]
    step: Float64[Tensor, "views detectors"]
    length: Float64[Tensor, "views detectors"]


def crossings(grid: ImageGrid, scan: Scan) -> Crossings:
    """Return where every ray crosses the grid.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The crossings.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> path = crossings(ImageGrid((2, 2)), ParallelBeam((0.0,), 2))
        >>> path.by_rows.all().item(), path.first.tolist()
        (True, [[0.0, 1.0]])
    """
    rays = scan.rays
    (x, y), (right, up) = rays.point.unbind(-1), rays.direction.unbind(-1)
    by_rows = up.abs() >= right.abs()  # along a diagonal both give the same weights
    left, top = float(grid.x_positions[0]), float(grid.y_positions[0])
    # rows: x at height `top`, counted from the left; columns: y at `left`, counted from the top
    steep = torch.where(by_rows, up, right)
    slope = torch.where(by_rows, right, up) / steep
    in_row = x + (top - y) * slope - left
    in_column = top - y - (left - x) * slope
    return Crossings(
        by_rows=by_rows,
        first=torch.where(by_rows, in_row, in_column) / grid.pixel_size,
        step=-slope,
        length=grid.pixel_size / steep.abs(),
    )
