"""Joseph's weights as one sparse matrix, view by view."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped
from scipy import sparse

from ct.geometry import ImageGrid
from ct.projectors.crossings import Crossings


def joseph_matrix(
    grid: ImageGrid,
    path: Crossings,
    views: Sequence[int],
    dtype: type[np.float32] | type[np.float64],
) -> sparse.csr_array:
    """Weights of every pixel in every ray's line integral, in mm.

    A ray shares its length in each row (or column) that it crosses between the two pixels beside
    the point where it crosses, by linear interpolation.

    Args:
        grid: where the pixels are.
        path: where the rays cross its rows or columns.
        views: indices of the views to include, in this order.
        dtype: of the stored weights; they are computed in float64.

    Returns:
        [views · detectors, rows · columns]; indices are int32 where they suffice, which MKL needs.
    """
    n_detectors = path.first.shape[1]
    n_rays = len(views) * n_detectors
    n_most = 2 * max(grid.shape) * n_rays
    index_type = np.int32 if max(n_most, math.prod(grid.shape)) < 2**31 else np.int64
    # memory that is never written is never taken, so the bound on its size costs nothing
    weights = np.empty(n_most, dtype=dtype)
    pixels = np.empty(n_most, dtype=index_type)
    starts = np.zeros(n_rays + 1, dtype=index_type)
    stop = 0
    for place, view in enumerate(views):
        start = stop
        rays = slice(place * n_detectors + 1, (place + 1) * n_detectors + 1)
        free = slice(start, start + 2 * max(grid.shape) * n_detectors)
        counts = _fill(grid, path, view, pixels[free].reshape(-1, 2), weights[free].reshape(-1, 2))
        starts[rays] = start + 2 * np.cumsum(counts)
        stop = starts[rays.stop - 1]
    shape = (n_rays, math.prod(grid.shape))
    return sparse.csr_array((weights[:stop], pixels[:stop], starts), shape=shape)


def _fill(
    grid: ImageGrid,
    path: Crossings,
    view: int,
    pixels: Shaped[np.ndarray, "most 2"],
    weights: Shaped[np.ndarray, "most 2"],
) -> Int[np.ndarray, " detectors"]:
    """Write the pairs of one view, ray after ray.

    Returns:
        How many pairs each ray has.
    """
    rows, columns = grid.shape
    by_rows, first, step, length = (
        part[view].numpy() for part in (path.by_rows, path.first, path.step, path.length)
    )
    n_along, n_across = np.where(by_rows, rows, columns), np.where(by_rows, columns, rows)
    along, across = np.where(by_rows, columns, 1), np.where(by_rows, 1, columns)
    line = np.arange(n_along.max(), dtype=pixels.dtype)
    # index of a pair's second pixel: of the line's n pixels a pair has one or both from 0 to n + 1
    position = step[:, None] * line
    position += first[:, None] + 1
    inside = (position > 0) & (position < n_across[:, None] + 1)
    if n_along.min() < len(line):
        inside &= line < n_along[:, None]
    counts: Int[np.ndarray, " detectors"] = np.count_nonzero(inside, axis=1)

    def spread(values: Shaped[np.ndarray, " detectors"]) -> Shaped[np.ndarray, " pairs"]:
        """Return one value a pair (or one for all, which is quicker) of one a ray."""
        return values[:1] if (values == values[0]).all() else np.repeat(values, counts)

    along, across = (spread(stride.astype(pixels.dtype)) for stride in (along, across))
    length, last = spread(length), spread(n_across)
    lines, position = np.broadcast_to(line, inside.shape)[inside], position[inside]
    second = position.astype(pixels.dtype)
    pixels, weights = pixels[: len(second)], weights[: len(second)]
    pixels[:, 1] = second * across + lines * along
    pixels[:, 0] = pixels[:, 1] - across
    weight = (position - second) * length
    weights[:, 1] = weight
    weights[:, 0] = length - weight
    # where a pair reaches over the edge, its other pixel stands in with weight 0
    for beyond, outer in (((second == 0).nonzero(), 0), ((second == last).nonzero(), 1)):
        weights[beyond, outer] = 0
        pixels[beyond, outer] = pixels[beyond, 1 - outer]
    return counts
