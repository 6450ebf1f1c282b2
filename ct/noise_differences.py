"""How noisy rays are by how far they differ from what their neighbours foretell."""

from __future__ import annotations

import math
from collections.abc import Iterator

from jaxtyping import Float64
from torch import Tensor

from ct.noise_rows import NoiseRows
from ct.streamed_median import streamed_median

FEWEST_VALUES = 30
"""A tenth of relative error, the least that is worth having."""
_MAD_OF_UNIT_NORMAL = 0.6744898


def noise_from_differences(rows: NoiseRows, orders: tuple[int, int]) -> float | None:
    """Return the median absolute difference over its value for noise of the given variances.

    Args:
        rows: the rays.
        orders: of the differences along the views and along the detector.

    Returns:
        The factor of the relative noise; None where too few differences count.
    """
    if any(n <= order for n, order in zip(rows.values.shape, orders, strict=True)):
        return None
    views, detector = (
        [math.comb(order, k) * (-1) ** k for k in range(order + 1)] for order in orders
    )
    squares = [w**2 for w in views], [w**2 for w in detector]

    def ratios() -> Iterator[Float64[Tensor, " some"]]:
        for block in rows.blocks(overlap=orders[0]):
            expected = _filtered(rows.variance(block), *squares)
            counted = expected.isfinite()
            difference = _filtered(rows.of(block), views, detector)
            yield difference[counted].abs() / expected[counted].sqrt()

    median, count = streamed_median(ratios, at_most=rows.values.numel())
    return median / _MAD_OF_UNIT_NORMAL if count >= FEWEST_VALUES else None


def _filtered(
    values: Float64[Tensor, "views detectors"], along_views: list[int], along_detector: list[int]
) -> Float64[Tensor, "views_left detectors_left"]:
    for axis, weights in ((1, along_detector), (0, along_views)):
        n_left = values.shape[axis] - len(weights) + 1
        total = weights[0] * values.narrow(axis, 0, n_left)
        for k, weight in enumerate(weights[1:], start=1):
            total.add_(values.narrow(axis, k, n_left), alpha=weight)
        values = total
    return values
