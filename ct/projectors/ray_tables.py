"""What a projector without a matrix must know of a scan: a few numbers a view, or two a ray."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, ParallelBeam, Scan
from ct.projectors.crossings import Crossings, crossings

FAR = 1e9
"""Index of a pixel that no image has: rays there contribute nothing."""

_ROUNDING = 1e-12
_FAN_MARGIN = 2e-3  # bins by which a bin computed in float32 may be off


@dataclass(frozen=True, kw_only=True, eq=False)
class RayTables:
    """Rays in the order in which kernels take them: views that step by rows, both ways, by columns.

    The ray to bin k meets line n (row or column) at index mid + step · (n − (lines − 1)/2) of the
    line's pixels, with two zeros before them. In a parallel view mid = spread · (k − (bins − 1)/2)
    + middle, and all steps are one; in a fan each ray has its own. Conversely, the bins that see
    a pixel (less than one pixel beside it) are the `reach` bins from a bin that is computed from
    the pixel: in a parallel view linearly, in a fan from tan γ = U/V, the source's coordinates.

    Attributes:
        order: the views of the scan, as they are sorted here.
        rows_end: views before it have rays that step by rows.
        columns_begin: views from it on have rays that step by columns.
        reach: number of bins that can see one pixel.
        length: mm in each line.
        views: parallel: spread, middle, step, 1/spread, first bin's constant; fan: cos θ, sin θ,
            the perpendicular's bin, the source's offset and distance in pixels and its distance to
            the detector in bins, half of how many bins see one pixel.
        mids: by rows and by columns, with `reach` bins more at both ends; FAR if a ray steps the
            other way. Empty for a parallel scan.
        steps: of the same rays; empty for a parallel scan.
        curved: whether bins are spaced evenly in γ, not in tan γ.
    """

    order: Int[Tensor, " views"]
    rows_end: int
    columns_begin: int
    reach: int
    length: Float[Tensor, "views bins"]
    views: Float[Tensor, "views 8"]
    mids: Float[Tensor, "*kinds_views_padded"]
    steps: Float[Tensor, "*views_padded"]
    curved: bool

    @property
    def parallel(self) -> bool:
        """Whether the rays of each view are parallel."""
        return not self.steps.numel()

    def to(self, dtype: torch.dtype, device: torch.device) -> RayTables:
        """Return the tables rounded to `dtype`, on `device`."""
        return replace(
            self,
            order=self.order.to(device, torch.int32),
            **{name: getattr(self, name).to(device, dtype) for name in _NUMBERS},
        )


_NUMBERS = ("length", "views", "mids", "steps")


def ray_tables(grid: ImageGrid, scan: Scan) -> RayTables | None:
    """Return the tables of a scan, in float64 on the CPU.

    Args:
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The tables, or None where a fan's source does not stand before the whole image: some
        pixels would then have no place on the line of the detector.

    Example:
        >>> tables = ray_tables(ImageGrid((4, 4)), ParallelBeam((0.0, 1.5), 6))
        >>> tables.reach, tables.rows_end, tables.columns_begin
        (2, 1, 1)
    """
    path = crossings(grid, scan)
    some_by_rows, all_by_rows = path.by_rows.any(dim=1), path.by_rows.all(dim=1)
    kind = 2 - some_by_rows.int() - all_by_rows.int()
    turn = torch.tensor(scan.angles, dtype=torch.float64).remainder(2 * math.pi)
    # neighbours in angle read nearly the same pixels, one after another
    order = torch.argsort(turn, stable=True)
    order = order[torch.argsort(kind[order], stable=True)]
    rows, columns = grid.shape
    lines = torch.where(path.by_rows, rows, columns)
    middle = path.first + path.step * (lines - 1) / 2 + 2
    path = Crossings(
        by_rows=path.by_rows[order],
        first=middle[order],
        step=path.step[order],
        length=path.length[order],
    )
    sorted_views = _SortedViews(
        order=order, rows_end=int(some_by_rows.sum()), columns_begin=int(all_by_rows.sum())
    )
    if isinstance(scan, FanBeam):
        return _fan(grid, scan, path, sorted_views)
    return _parallel(grid, scan, path, sorted_views)


class _SortedViews(TypedDict):
    order: Tensor
    rows_end: int
    columns_begin: int


def _parallel(
    grid: ImageGrid, scan: ParallelBeam, path: Crossings, views: _SortedViews
) -> RayTables:
    n_bins = scan.n_detectors
    along = scan.rays.direction[views["order"], 0]
    steep = torch.where(path.by_rows[:, 0], along[:, 1], along[:, 0])
    spread = scan.detector_spacing / (grid.pixel_size * steep)
    middle = (path.first[:, 0] + path.first[:, -1]) / 2
    reach = spread.abs().reciprocal()
    # an open interval of this many bins holds at most so many whole numbers
    most = max(2, math.ceil(2 * float(reach.max()) - _ROUNDING))
    first_bin = (n_bins - 1) / 2 - middle / spread - reach + most + 1
    zero = torch.zeros_like(spread)
    return RayTables(
        **views,
        reach=most,
        length=path.length,
        views=torch.stack(
            [spread, middle, path.step[:, 0], 1 / spread, first_bin, zero, zero, zero], dim=1
        ),
        mids=path.first.new_empty(0),
        steps=path.first.new_empty(0),
        curved=False,
    )


def _fan(grid: ImageGrid, scan: FanBeam, path: Crossings, views: _SortedViews) -> RayTables | None:
    rows, columns = grid.shape
    # pixels, and their neighbours along rows and along columns, must lie before the source
    ends = math.hypot(rows - 1, columns + 1), math.hypot(rows + 1, columns - 1)
    farthest = max(ends) / 2 * grid.pixel_size
    if scan.source_origin <= farthest * (1 + 1e-6):
        return None
    theta = torch.tensor(scan.angles, dtype=torch.float64)[views["order"]]
    reach = _fan_reach(grid, scan, theta) + _FAN_MARGIN
    most = max(2, math.ceil(2 * float(reach.max())))
    per_view = torch.stack([theta.cos(), theta.sin()], dim=1)
    shared = torch.tensor([
        scan.center + most + 1,
        scan.source_offset / grid.pixel_size,
        scan.source_origin / grid.pixel_size,
        scan.source_detector / scan.detector_spacing,
    ], dtype=torch.float64)  # fmt: skip
    mids = torch.stack([
        torch.where(path.by_rows, path.first, FAR),
        torch.where(path.by_rows, FAR, path.first),
    ])
    pad = (most, most)
    return RayTables(
        **views,
        reach=most,
        length=path.length,
        views=torch.cat(
            [
                per_view,
                shared.expand(len(theta), -1),
                reach[:, None],
                torch.zeros_like(reach)[:, None],
            ],
            dim=1,
        ),
        mids=torch.nn.functional.pad(mids, pad, value=FAR),
        steps=torch.nn.functional.pad(path.step, pad),
        curved=scan.curved,
    )


def _fan_reach(grid: ImageGrid, scan: FanBeam, theta: Tensor) -> Float[Tensor, " views"]:
    """Return the most bins between the shadows of two neighbouring pixels in each view.

    Along a row, d tan γ/dx is |y − y_S| / V², and dγ/dx is |y − y_S| / ρ², V and ρ the distances
    from the source along v and in all: each is largest at an end of what steep rays cross of the
    row, or beneath the source. Columns likewise.
    """
    cos, sin = theta.cos()[:, None, None], theta.sin()[:, None, None]
    source_x = scan.source_offset * cos + scan.source_origin * sin
    source_y = scan.source_offset * sin - scan.source_origin * cos
    h = grid.pixel_size

    def bin_of(x: Tensor, y: Tensor) -> Tensor:
        ratio = (cos * (x - source_x) + sin * (y - source_y)) / (
            cos * (y - source_y) - sin * (x - source_x)
        )
        t = ratio.atan() if scan.curved else ratio
        return t * scan.source_detector / scan.detector_spacing

    def widest(
        line: Tensor, source: Tensor, source_line: Tensor, ends: Tensor
    ) -> tuple[Tensor, Tensor]:
        distance = (line[None, :, None] - source_line).abs() + 2 * h
        low, high = (source - distance).clamp(min=ends[0]), (source + distance).clamp(max=ends[-1])
        below = source + torch.tensor([-h / 2, 0.0, h / 2], dtype=theta.dtype)
        place = torch.cat([low, high, below.expand(*low.shape[:2], 3)], dim=2)
        place = place.maximum(low).minimum(high)
        return torch.stack([place - h, place, place + h]), low <= high

    def steps(bins: Tensor, crossed: Tensor) -> Tensor:
        return (bins.diff(dim=0).abs().amax(dim=(0, 3)) * crossed[..., 0]).amax(dim=1)

    x, crossed = widest(grid.y_positions, source_x, source_y, grid.x_positions)
    by_rows = steps(bin_of(x, grid.y_positions[None, :, None]), crossed)
    y, crossed = widest(grid.x_positions, source_y, source_x, grid.y_positions.flip(0))
    by_columns = steps(bin_of(grid.x_positions[None, :, None], y), crossed)
    return by_rows.maximum(by_columns)
