"""Line integrals on a GPU, in Triton: each thread follows a ray through the lines it crosses.

Images stand as [group, line, position, lane]: the slices of a batch in groups of `LANES` side by
side, so that a pixel of several slices is one access, and lines once as rows and once as columns,
so that neighbouring rays read neighbouring pixels whichever way they step. Each line stands between
two zeros and two more, where rays outside the image are sent, and MORE lines of zeros follow the
last one, where the phases of a ray that outrun the image end.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from ct.projectors.layout import MORE_LINES

# a kernel compiled for one size serves every other
_SIZES = ("batch", "rows", "columns", "n_views", "n_bins", "rows_end", "columns_begin", "reach")
_MORE: tl.constexpr = tl.constexpr(MORE_LINES)


@triton.jit(do_not_specialize=("images", *_SIZES[:3]))
@no_type_check
def pad_images_kernel(
    images, by_rows, by_columns, batch, rows, columns,
    LANES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Copy TILE x TILE pixels of LANES slices to both layouts of this module."""
    tiles = tl.cdiv(columns + 2 + _MORE, TILE)
    i = (tl.program_id(0) // tiles * TILE + tl.arange(0, TILE) - 2)[:, None, None]
    j = (tl.program_id(0) % tiles * TILE + tl.arange(0, TILE) - 2)[None, :, None]
    lane = tl.arange(0, LANES)[None, None, :]
    group = tl.program_id(1).to(tl.int64)
    item = group * LANES + lane
    values = tl.load(
        images + (item * rows + i) * columns + j,
        mask=(i >= 0) & (i < rows) & (j >= 0) & (j < columns) & (item < batch), other=0.0,
    )  # fmt: skip
    at = ((group * (rows + _MORE) + i) * (columns + 4) + j + 2) * LANES + lane
    tl.store(by_rows + at, values, mask=(i >= 0) & (i < rows + _MORE) & (j < columns + 2))
    at = ((group * (columns + _MORE) + j) * (rows + 4) + i + 2) * LANES + lane
    tl.store(by_columns + at, values, mask=(j >= 0) & (j < columns + _MORE) & (i < rows + 2))


@triton.jit
@no_type_check
def _march(image, n_lines, width, mid, step, phase, total0, total1, plane,
           LANES: tl.constexpr, GROUPS: tl.constexpr,
           PHASES: tl.constexpr, UNROLL: tl.constexpr):  # fmt: skip
    """Return the totals and what rays meet in lines of `width` pixels, the middle one at `mid`."""
    # lines in which at least one of the rays is inside; one more for rounding
    slope = tl.where(tl.abs(step) < 1e-9, 1e-9, step)
    one, other = (1 - mid) / slope, (width + 2 - mid) / slope
    centre = (n_lines - 1) * 0.5
    low = tl.minimum(tl.maximum(tl.minimum(one, other) + centre - 1, 0), n_lines)
    high = tl.minimum(tl.maximum(tl.maximum(one, other) + centre + 2, 0), n_lines)
    low = tl.where(low < high, low, n_lines)
    begin, end = tl.min(low).to(tl.int32), tl.max(high).to(tl.int32)
    lane = tl.arange(0, LANES)[None, :]
    line = phase + (begin - centre).to(mid.dtype)
    shift = phase.to(tl.int32) * (width + 4)
    start = image + begin.to(tl.int64) * (width + 4) * LANES
    for _ in tl.range(begin, end, PHASES, loop_unroll_factor=UNROLL):
        place = tl.fma(step, line, mid)
        place = tl.minimum(tl.maximum(place, 1.0), width + 2.0)
        pixel = place.to(tl.int32)
        above = (place - pixel.to(place.dtype))[:, None]
        at = start + ((pixel + shift)[:, None] * LANES + lane)
        below = 1 - above
        total0 += below * tl.load(at)
        total0 += above * tl.load(at + LANES)
        if GROUPS == 2:
            total1 += below * tl.load(at + plane)
            total1 += above * tl.load(at + plane + LANES)
        line += PHASES
        start += PHASES * (width + 4) * LANES
    return total0, total1


@triton.jit(do_not_specialize=_SIZES)
@no_type_check
def forward_kernel(
    by_rows, by_columns, order, length, views, mids, steps, sinograms,
    batch, rows, columns, n_views, n_bins, rows_end, columns_begin, reach,
    PARALLEL: tl.constexpr, LANES: tl.constexpr, GROUPS: tl.constexpr,
    VIEWS: tl.constexpr, BINS: tl.constexpr, PHASES: tl.constexpr, UNROLL: tl.constexpr,
):  # fmt: skip
    """Follow the rays of VIEWS neighbouring views to BINS bins through GROUPS x LANES slices."""
    blocks = tl.cdiv(n_bins, BINS)
    slot0, k0 = tl.program_id(0) // blocks * VIEWS, tl.program_id(0) % blocks * BINS
    ray = tl.arange(0, PHASES * VIEWS * BINS) % (VIEWS * BINS)
    slot, k = slot0 + ray // BINS, k0 + ray % BINS
    there = (slot < n_views) & (k < n_bins)
    slot, k = tl.minimum(slot, n_views - 1), tl.minimum(k, n_bins - 1)
    dtype: tl.constexpr = sinograms.dtype.element_ty
    phase = (tl.arange(0, PHASES * VIEWS * BINS) // (VIEWS * BINS)).to(dtype)
    group = tl.program_id(1).to(tl.int64) * GROUPS
    total0 = tl.zeros((PHASES * VIEWS * BINS, LANES), dtype)
    total1 = tl.zeros((PHASES * VIEWS * BINS, LANES), dtype)
    if PARALLEL:
        bins = k.to(dtype) - (n_bins - 1) * 0.5
        always = tl.fma(tl.load(views + slot * 8), bins.to(dtype), tl.load(views + slot * 8 + 1))
        step = tl.load(views + slot * 8 + 2)
    else:
        at = slot.to(tl.int64) * (n_bins + 2 * reach) + k + reach
        step = tl.load(steps + at)
    for columnwise in tl.static_range(2):
        image, n_lines, width, mine = by_rows, rows, columns, slot < rows_end
        if columnwise:
            image, n_lines, width, mine = by_columns, columns, rows, slot >= columns_begin
        if not PARALLEL:
            shift = n_views.to(tl.int64) * (n_bins + 2 * reach) * columnwise
            always = tl.load(mids + shift + at)
        mid = tl.where(there & mine, always, 1e9).to(dtype)
        plane = (n_lines + _MORE).to(tl.int64) * (width + 4) * LANES
        total0, total1 = _march(
            image + group * plane, n_lines, width, mid, step, phase, total0, total1, plane,
            LANES=LANES, GROUPS=GROUPS, PHASES=PHASES, UNROLL=UNROLL,
        )  # fmt: skip
    lane = tl.arange(0, LANES)[None, :]
    ray = tl.arange(0, VIEWS * BINS)
    slot, k = slot0 + ray // BINS, k0 + ray % BINS
    there = (slot < n_views) & (k < n_bins)
    scale = tl.load(length + slot.to(tl.int64) * n_bins + k, mask=there, other=0.0)[:, None]
    view = tl.load(order + slot, mask=there, other=0)
    for g in tl.static_range(GROUPS):
        total = tl.reshape(total1 if g else total0, (PHASES, VIEWS * BINS, LANES))
        item = (group + g) * LANES + lane
        at = (item * n_views + view[:, None]) * n_bins + k[:, None]
        tl.store(
            sinograms + at, tl.sum(total, axis=0) * scale, mask=there[:, None] & (item < batch)
        )
