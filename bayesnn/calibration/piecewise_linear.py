"""Functions that are linear between knots."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def interpolated(
    x: Float[Tensor, "*shape"], knots: Float[Tensor, " k"], values: Float[Tensor, " k"]
) -> Float[Tensor, "*shape"]:
    """Return the function's values at x, constant beyond the first and the last knot.

    Args:
        x: where to evaluate.
        knots: strictly rising, at least one.
        values: at the knots.

    Returns:
        The values, on x's device and in its dtype, interpolated in the knots' dtype.

    Example:
        >>> knots, values = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 4.0])
        >>> interpolated(torch.tensor([-1.0, 0.5]), knots, values)
        tensor([2., 3.])
    """
    knots, values = knots.to(x.device), values.to(x.device)
    if len(knots) == 1:
        return values[0].expand(x.shape).to(x.dtype)
    inside = x.to(knots.dtype).clamp(knots[0], knots[-1]).contiguous()
    right = torch.searchsorted(knots, inside).clamp(1, len(knots) - 1)
    left = right - 1
    share = (inside - knots[left]) / (knots[right] - knots[left])
    return values[left].lerp(values[right], share).to(x.dtype)
