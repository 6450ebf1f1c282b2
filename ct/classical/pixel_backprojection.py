"""Back-projection from the pixels' side: each takes from every view what lies at its shadow."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ct.geometry import FanBeam, ImageGrid, Scan

# values of (pixel, view) at a time: on the CPU what stays in cache, on a GPU what keeps it busy
_AT_ONCE = {"cpu": 2**17, "cuda": 2**22}


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
    return _images(padded.T.contiguous(), grid, scan).reshape(*batch, *grid.shape)


def _images(
    table: Float[Tensor, "entries batch"], grid: ImageGrid, scan: Scan
) -> Float[Tensor, "batch pixels"]:
    """Return sums over views for a table that has one row for each ray, and one past each end."""
    n_pixels, n_ends = math.prod(grid.shape), scan.n_detectors + 2
    first = torch.arange(scan.n_views, dtype=torch.int32, device=table.device) * n_ends
    at_once = max(1, _AT_ONCE.get(table.device.type, 2**20) // scan.n_views)
    x = grid.x_positions.to(table.device).repeat(grid.shape[0])
    y = grid.y_positions.to(table.device).repeat_interleave(grid.shape[1])
    images = table.new_empty(table.shape[1], n_pixels)
    for start in range(0, n_pixels, at_once):
        block = slice(start, start + at_once)
        position, weight = _shadows(x[block, None], y[block, None], scan)
        position = (position + 1).clamp_(0, n_ends - 1)
        low = position.int().clamp_(max=n_ends - 2)
        above = position.sub_(low).to(table.dtype)
        pair = torch.cat([1 - above, above], dim=1)
        if weight is not None:
            pair *= weight.to(table.dtype).repeat(1, 2)
        low += first
        images[:, block] = torch.nn.functional.embedding_bag(
            torch.cat([low, low + 1], dim=1), table, mode="sum", per_sample_weights=pair
        ).T
    return images


def _shadows(
    x: Float64[Tensor, "pixels 1"], y: Float64[Tensor, "pixels 1"], scan: Scan
) -> tuple[Float64[Tensor, "pixels views"], Float64[Tensor, "pixels views"] | None]:
    """Return the detector index on which each pixel falls, and its weight where that is not 1."""
    angles = torch.tensor(scan.angles, dtype=torch.float64, device=x.device)
    cos, sin = angles.cos(), angles.sin()
    if not isinstance(scan, FanBeam):
        spacing = scan.detector_spacing
        return x * (cos / spacing) + (y * (sin / spacing) + scan.center), None
    across = x * cos + y * sin - scan.source_offset
    depth = y * cos - x * sin + scan.source_origin
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
