"""Back-projection on a GPU, in Triton: each thread gathers what the rays beside its pixel saw.

Sinograms stand as [group, view, bin, lane], times the rays' lengths, views sorted as in
`RayTables`, with zeros at both ends of each view, where pixels outside the detector's view look.
Where a ray crosses a line is computed with the forward kernel's operations, so that both
directions use the same weights.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

_SIZES = ("batch", "rows", "columns", "n_views", "n_bins", "rows_end", "columns_begin", "reach")


@triton.jit(do_not_specialize=("sinograms", "batch", "n_views", "n_bins", "reach"))
@no_type_check
def pad_sinograms_kernel(
    sinograms, padded, order, length, batch, n_views, n_bins, reach,
    LANES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Copy TILE bins of LANES slices to the layout of this module."""
    blocks = tl.cdiv(n_bins + 2 * reach, TILE)
    slot = (tl.program_id(0) // blocks).to(tl.int64)
    k = (tl.program_id(0) % blocks * TILE + tl.arange(0, TILE))[:, None]
    lane = tl.arange(0, LANES)[None, :]
    group = tl.program_id(1).to(tl.int64)
    item = group * LANES + lane
    seen = (k >= reach) & (k < n_bins + reach)
    at = (item * n_views + tl.load(order + slot)) * n_bins + k - reach
    values = tl.load(sinograms + at, mask=seen & (item < batch), other=0.0)
    values *= tl.load(length + slot * n_bins + k - reach, mask=seen, other=0.0)
    at = ((group * n_views + slot) * (n_bins + 2 * reach) + k) * LANES + lane
    tl.store(padded + at, values, mask=k < n_bins + 2 * reach)


@triton.jit
@no_type_check
def _arc_tangent(x):
    """Return atan x to 2e-8 (Abramowitz and Stegun 4.4.49)."""
    size = tl.abs(x)
    small = tl.minimum(size, 1 / tl.maximum(size, 1.0))
    t = small * small
    p = tl.fma(t, 0.0028662257, -0.0161657367)
    p = tl.fma(t, p, 0.0429096138)
    p = tl.fma(t, p, -0.0752896400)
    p = tl.fma(t, p, 0.1065626393)
    p = tl.fma(t, p, -0.1420889944)
    p = tl.fma(t, p, 0.1999355085)
    p = tl.fma(t, p, -0.3333314528)
    p = tl.fma(t, p, 1.0) * small
    p = tl.where(size > 1, 1.5707963267948966 - p, p)
    return tl.where(x < 0, -p, p)


@triton.jit
@no_type_check
def _parallel_bin(view, line, place):
    """Return the first bin that can see each pixel, and what mid and step are made of."""
    spread, middle = tl.load(view), tl.load(view + 1)
    step, inverse = tl.load(view + 2), tl.load(view + 3)
    first = tl.fma(-step * inverse, line, tl.load(view + 4))
    return tl.fma(inverse, place, first), spread, middle, step


@triton.jit
@no_type_check
def _fan_bin(view, right, down, CURVED: tl.constexpr):
    """Return where on the detector the shadow of each pixel falls, in bins."""
    cos, sin = tl.load(view), tl.load(view + 1)
    offset, distance = tl.load(view + 3), tl.load(view + 4)
    beside = cos * right - sin * down - offset
    ratio = beside / (distance - (sin * right + cos * down))
    if CURVED:
        ratio = _arc_tangent(ratio)
    return tl.fma(tl.load(view + 5), ratio, tl.load(view + 2))


@triton.jit
@no_type_check
def _fan_reach(view, right, down, extent, columnwise: tl.constexpr):
    """Return half of how many bins can see one pixel of a tile; 0 if no rays step there so.

    Neighbouring pixels of a line are at most max(|x|, |y|)/V² apart in tan γ or γ, where x and y
    lead from the source to them and V is their distance from it along the view's axis.
    """
    cos, sin = tl.load(view), tl.load(view + 1)
    beside = cos * right - sin * down - tl.load(view + 3)
    before = tl.load(view + 4) - (sin * right + cos * down)
    x, y = tl.abs(cos * beside - sin * before), tl.abs(sin * beside + cos * before)
    near = tl.maximum(before - extent, 1.0)
    half = tl.load(view + 5) * (tl.maximum(x, y) + extent) / (near * near)
    half = tl.minimum(half * 1.001 + 0.01, tl.load(view + 6))
    if columnwise:
        x, y = y, x
    return tl.where(y + extent + 1 >= x, half, 0.0)


@triton.jit(do_not_specialize=_SIZES)
@no_type_check
def adjoint_kernel(
    padded, views, mids, steps, images,
    batch, rows, columns, n_views, n_bins, rows_end, columns_begin, reach,
    PARALLEL: tl.constexpr, CURVED: tl.constexpr, REACH: tl.constexpr,
    LANES: tl.constexpr, GROUPS: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """Back-project to HEIGHT x WIDTH pixels of GROUPS x LANES slices; REACH is `reach` or 0."""
    tiles = tl.cdiv(columns, WIDTH)
    pixel = tl.arange(0, HEIGHT * WIDTH)
    i = tl.program_id(0) // tiles * HEIGHT + pixel // WIDTH
    j = tl.program_id(0) % tiles * WIDTH + pixel % WIDTH
    dtype: tl.constexpr = images.dtype.element_ty
    group = tl.program_id(1).to(tl.int64) * GROUPS
    lane = tl.arange(0, LANES)[None, :]
    n_padded = n_bins + 2 * reach
    plane = n_views.to(tl.int64) * n_padded * LANES
    total0 = tl.zeros((HEIGHT * WIDTH, LANES), dtype)
    total1 = tl.zeros((HEIGHT * WIDTH, LANES), dtype)
    inside = (i < rows) & (j < columns)
    i, j = tl.minimum(i, rows - 1), tl.minimum(j, columns - 1)
    # pixels from the image's middle
    down = (i - (rows - 1) * 0.5).to(dtype)
    right = (j - (columns - 1) * 0.5).to(dtype)
    tile_down = tl.program_id(0) // tiles * HEIGHT + (HEIGHT - rows) * 0.5
    tile_right = tl.program_id(0) % tiles * WIDTH + (WIDTH - columns) * 0.5
    for columnwise in tl.static_range(2):
        begin, end = 0 * rows_end, rows_end
        line, place = down, (j + 2).to(dtype)
        if columnwise:
            begin, end = columns_begin, n_views
            line, place = right, (i + 2).to(dtype)
        row = begin.to(tl.int64) * n_padded
        for slot in tl.range(begin, end, loop_unroll_factor=UNROLL):
            if PARALLEL:
                first, spread, middle, step = _parallel_bin(views + slot * 8, line, place)
                n_seen = reach
            else:
                half = _fan_reach(
                    views + slot * 8, tile_right, tile_down, (HEIGHT + WIDTH) * 0.5 + 1, columnwise
                )
                first = _fan_bin(views + slot * 8, right, down, CURVED=CURVED) - half
                n_seen = tl.minimum(tl.ceil(2 * half).to(tl.int32), reach)
            k = tl.minimum(tl.maximum(first, 0.0), (n_bins + reach) * 1.0).to(tl.int32)
            bins = k.to(dtype) - (reach + (n_bins - 1) * 0.5)
            at = padded + (group * plane + row * LANES) + (k[:, None] * LANES + lane)
            for m in tl.range(0, REACH or n_seen, loop_unroll_factor=REACH or 1):
                if PARALLEL:
                    mid = tl.fma(spread, bins.to(dtype), middle)
                    bins += 1
                else:
                    shift = n_views.to(tl.int64) * n_padded * columnwise
                    mid = tl.load(mids + (shift + row) + (k + m))
                    step = tl.load(steps + row + (k + m))
                crossed = tl.fma(step, line, mid)
                weight = tl.maximum(1 - tl.abs(crossed - place), 0.0)[:, None]
                total0 += weight * tl.load(at + m * LANES)
                if GROUPS == 2:
                    total1 += weight * tl.load(at + plane + m * LANES)
            row += n_padded
    for g in tl.static_range(GROUPS):
        item = (group + g) * LANES + lane
        at = (item * rows + i[:, None]) * columns + j[:, None]
        total = total1 if g else total0
        tl.store(images + at, total, mask=inside[:, None] & (item < batch))
