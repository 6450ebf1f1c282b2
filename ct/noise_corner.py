"""How noisy rays are by the corner of their Fourier transform that no object reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Complex128
from torch import Tensor

from ct.noise_differences import FEWEST_VALUES
from ct.noise_rows import NoiseRows

_KEPT = 0.75
_MARGIN = 3  # angular frequencies by which an object's edges spill over the wedge's border
_AT_ONCE = 2**18  # coefficients in work at once: 4 MiB


def noise_from_empty_corner(rows: NoiseRows, *, mirrored: bool) -> float | None:
    """Return the root of the mean power at angular frequencies |m| > R|ω| of a full turn.

    Only frequencies of the corner are ever transformed, some columns of them at a time.

    Args:
        rows: the rays.
        mirrored: whether the views are half a turn, their mirror images the other half.

    Returns:
        The factor of the relative noise; None where the corner has too few frequencies.
    """
    n_views, n_detectors = rows.values.shape
    n_views *= 1 + mirrored
    # the corner's columns: beyond them, πk leaves no m
    most = min((n_detectors - 1) // 2, math.floor((n_views / 2 - _MARGIN) / math.pi))
    columns = range(1, most + 1)
    n_values = sum(int(_corner(n_views, k).sum()) for k in _parts(columns, n_views))
    total = (1 + mirrored) * rows.counted()[1]
    if n_values < FEWEST_VALUES or total == 0:
        return None
    values, done = np.empty(n_values), 0
    for part in _parts(columns, n_views):
        # each value has the sum of all variances as its mean: bins that do not count bring no noise
        transform = torch.fft.fft(_columns(rows, part, mirrored=mirrored), dim=1)
        corner = _corner(n_views, part).to(transform.device)
        power = transform[:, : corner.shape[1]][corner].abs().square() / total
        values[done : done + len(power)] = power.cpu()
        done += len(power)
    # leaked structure sits in a few large values: average the rest. Power is exponentially
    # distributed, so the mean of its lowest fraction q is 1 + (1 − q) log(1 − q)/q of the whole's
    n_kept = math.ceil(_KEPT * n_values)
    values.partition(n_kept - 1)
    expected = 1 + (1 - _KEPT) * math.log(1 - _KEPT) / _KEPT
    return math.sqrt(float(values[:n_kept].mean()) / expected)


def _parts(columns: range, n_views: int) -> Iterator[range]:
    step = max(1, _AT_ONCE // n_views)
    for first in range(columns.start, columns.stop, step):
        yield range(first, min(first + step, columns.stop))


def _corner(n_views: int, columns: range) -> Bool[Tensor, "columns m"]:
    """Return which angular frequencies from 0 on are in the corner.

    R ω = (detectors/2)(2πk/detectors). Half of all m, the others being conjugates of a mirrored
    turn; and neither k = 0 nor the Nyquist frequency, where mirroring makes every other m vanish.
    """
    m = torch.arange((n_views + 1) // 2)
    k = torch.arange(columns.start, columns.stop)[:, None]
    return m > math.pi * k + _MARGIN


def _columns(
    rows: NoiseRows, columns: range, *, mirrored: bool
) -> Complex128[Tensor, "columns views"]:
    """Return some Fourier coefficients of each view of the turn."""
    n_views, n_detectors = rows.values.shape
    found = torch.empty(
        (len(columns), (1 + mirrored) * n_views),
        dtype=torch.complex128,
        device=rows.values.device,
    )
    for views in rows.blocks():
        each = torch.fft.rfft(rows.of(views), dim=1)[:, columns.start : columns.stop]
        found[:, views.start : views.stop] = each.T
    if mirrored:
        k = torch.arange(columns.start, columns.stop, device=found.device, dtype=torch.float64)
        phase = torch.polar(torch.ones_like(k), 2 * math.pi * k / n_detectors)
        found[:, n_views:] = phase[:, None] * found[:, :n_views].conj()
    return found
