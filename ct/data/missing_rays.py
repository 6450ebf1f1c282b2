"""Rays that were not measured: a guess in their place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64


def fill_missing(
    values: Float64[np.ndarray, "views detectors"], missing: Bool[np.ndarray, "views detectors"]
) -> Float64[np.ndarray, "views detectors"]:
    """Interpolate rays that were not measured, linearly along the detector.

    At the detector's ends the nearest measured bin is repeated; a view without a measured ray is
    interpolated between the nearest views that have some.

    Args:
        values: line integrals; what stands in missing rays does not matter.
        missing: which rays were not measured.

    Returns:
        The values with guesses.

    Raises:
        ValueError: no ray was measured.

    Example:
        >>> fill_missing(np.array([[1.0, 9.0, 3.0]]), np.array([[False, True, False]]))
        array([[1., 2., 3.]])
    """
    if not missing.any():
        return values
    if missing.all():
        raise ValueError("expected some rays that were measured, found none; check the flats.")
    filled = values.copy()
    bins = np.arange(values.shape[1])
    empty = missing.all(axis=1)
    for view in np.flatnonzero(missing.any(axis=1) & ~empty):
        gone = missing[view]
        filled[view, gone] = np.interp(bins[gone], bins[~gone], values[view, ~gone])
    present = np.flatnonzero(~empty)
    for view in np.flatnonzero(empty):
        after = int(np.searchsorted(present, view))
        low = int(present[max(after - 1, 0)])
        high = int(present[min(after, len(present) - 1)])
        share = 0.0 if high == low else (view - low) / (high - low)
        filled[view] = (1 - share) * filled[low] + share * filled[high]
    return filled
