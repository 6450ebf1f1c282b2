"""Back-projection from the pixels' side: each takes from every view what lies at its shadow."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int32
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, Scan

# values of (pixel, view) at a time: on the CPU what stays in cache, on a GPU what keeps it busy
_AT_ONCE = {"cpu": 2**16, "cuda": 2**22}
_FEW_IMAGES = 2  # for which sums over all images at once take longer than one after the other


def backproject(
    filtered: Float[Tensor, "*batch views detectors"], grid: ImageGrid, scan: Scan
) -> Float[Tensor, "*batch rows columns"]:
    """Sum over views the value at each pixel's shadow, interpolated between bins.

    b(r) = Σ_v w_v(r) q_v(k_v(r)), with k_v(r) the detector index on which r falls, w = 1 for
    parallel beams and w = (F/L)² for fans, F the distance from source to detector and L that
    from the source to r, along the perpendicular for a flat detector. What bins do not cover
    counts as zero. This is no adjoint of `ct.projector`, but smoother.

    Indices and weights are made block by block for all images together, and not kept: besides the
    images and a copy of the values, a few MB are in memory on the CPU, and 300 MB on a GPU.

    Args:
        filtered: values to sum.
        grid: where the pixels are.
        scan: where the rays are.

    Returns:
        The images, in the values' unit.

    Example:
        >>> from ct.geometry import ParallelBeam
        >>> scan = ParallelBeam((0.0,), n_detectors=2)
        >>> backproject(torch.tensor([[1.0, 2.0]]), ImageGrid((1, 2)), scan)
        tensor([[1., 2.]])
    """
    batch = filtered.shape[:-2]
    # a zero at each end: interpolation past the last bin falls to nothing
    padded = torch.nn.functional.pad(filtered, (1, 1)).reshape(math.prod(batch), -1)
    # and one more, for who stands on the very last
    table = torch.nn.functional.pad(padded, (0, 1)).T.contiguous()
    return _images(table, grid, scan).reshape(*batch, *grid.shape)


def _images(
    table: Float[Tensor, "entries batch"], grid: ImageGrid, scan: Scan
) -> Float[Tensor, "batch rows columns"]:
    """Return sums over views for a table that has one row a ray, and one past each view's ends."""
    n_ends = scan.n_detectors + 2
    first = torch.arange(scan.n_views, dtype=torch.int32, device=table.device) * n_ends
    x, y = grid.x_positions.to(table.device), grid.y_positions.to(table.device)
    images = table.new_empty(table.shape[1], *grid.shape)
    for rows, columns in _blocks(grid.shape, scan.n_views, table.device.type):
        position, weight = _shadows(x[columns], y[rows], scan)
        position = (position.flatten(0, 1) + 1).clamp_(0, n_ends - 1)
        low = position.int()
        above = position.sub_(low).to(table.dtype)
        low += first
        pair = torch.cat([1 - above, above], dim=1)
        if weight is not None:
            pair *= weight.flatten(0, 1).to(table.dtype).repeat(1, 2)
        sums = _weighted_sums(table, torch.cat([low, low + 1], dim=1), pair)
        part = images[:, rows, columns]
        part.copy_(sums.T.reshape(part.shape))
    return images


def _weighted_sums(
    table: Float[Tensor, "entries batch"],
    index: Int32[Tensor, "pixels terms"],
    weight: Float[Tensor, "pixels terms"],
) -> Float[Tensor, "pixels batch"]:
    """Return Σ_t weight[·, t] · table[index[·, t]]."""
    if table.shape[1] > _FEW_IMAGES:
        return torch.nn.functional.embedding_bag(
            index, table, mode="sum", per_sample_weights=weight
        )
    flat = index.flatten()
    values = [column.index_select(0, flat).view(weight.shape) for column in table.unbind(1)]
    return torch.stack([(value * weight).sum(1) for value in values], dim=1)


def _blocks(shape: tuple[int, int], n_views: int, device: str) -> Iterator[tuple[slice, slice]]:
    pixels = max(1, _AT_ONCE.get(device, 2**20) // n_views)
    n_columns = min(shape[1], pixels)
    n_rows = max(1, pixels // n_columns)
    for row in range(0, shape[0], n_rows):
        for column in range(0, shape[1], n_columns):
            yield slice(row, row + n_rows), slice(column, column + n_columns)


def _shadows(
    x: Float64[Tensor, " columns"], y: Float64[Tensor, " rows"], scan: Scan
) -> tuple[Float64[Tensor, "rows columns views"], Float64[Tensor, "rows columns views"] | None]:
    """Return the detector index on which each pixel falls, and its weight where that is not 1."""
    angles = torch.tensor(scan.angles, dtype=torch.float64, device=x.device)
    cos, sin = angles.cos(), angles.sin()
    if not isinstance(scan, FanBeam):
        spacing = scan.detector_spacing
        return _plane(x, cos / spacing, y, sin / spacing, scan.center), None
    across = _plane(x, cos, y, sin, -scan.source_offset)
    depth = _plane(x, -sin, y, cos, scan.source_origin)
    if scan.curved:
        t = torch.atan2(across, depth) * scan.source_detector
        squared = across.square() + depth.square()
    else:
        # what is beside or behind a source that stands off the axis, its detector cannot see
        depth = depth.clamp(min=1e-9 * scan.source_origin)
        t = across / depth * scan.source_detector
        squared = depth.square()
    position = (t / scan.detector_spacing + scan.center).clamp(-1, scan.n_detectors)
    return position, scan.source_detector**2 / squared


def _plane(
    x: Float64[Tensor, " columns"],
    along_x: Float64[Tensor, " views"],
    y: Float64[Tensor, " rows"],
    along_y: Float64[Tensor, " views"],
    constant: float,
) -> Float64[Tensor, "rows columns views"]:
    return (y[:, None] * along_y + constant)[:, None, :] + x[:, None] * along_x
