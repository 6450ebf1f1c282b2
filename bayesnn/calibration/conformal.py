"""Half widths of intervals from scores that were held out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def conformal_quantile(scores: ArrayLike | Tensor, level: float) -> Tensor:
    """Return the value that a further score is at most with the given probability.

    The ⌈level · (n + 1)⌉-th smallest of n held-out scores, such as |y − m| / σ: if the new score is
    exchangeable with them, it is no larger with probability at least `level`, whatever their
    distribution. Infinite where n is too small for the level.

    Args:
        scores: nonconformity scores of held-out points, of any shape.
        level: probability, at least 0 and below 1.

    Returns:
        The quantile, a tensor without dimensions; m ± quantile · σ is the interval.

    Raises:
        ValueError: no scores, scores that are not finite, or a level that is not at least 0, below
            1.

    Source:
        V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005; J. Lei et
        al., Journal of the American Statistical Association 113, 2018.

    Example:
        >>> float(conformal_quantile([4.0, 1.0, 3.0, 2.0], 0.6))
        3.0
    """
    if not 0 <= level < 1:
        raise ValueError(f"level: expected a number of at least 0 and below 1, got {level!r}.")
    ordered = as_finite_tensor(scores, "scores", ndim=range(16)).flatten().sort().values
    place = math.ceil(level * (len(ordered) + 1) - 1e-9)
    if place > len(ordered):
        return ordered.new_tensor(math.inf)
    return ordered[max(place, 1) - 1] if place > 0 else torch.zeros_like(ordered[0])


def reliability_curve(scores: ArrayLike | Tensor, half_widths: Sequence[float] | Tensor) -> Tensor:
    """Return the share of points that intervals of each half width cover.

    Against the levels that the half widths belong to, this is the reliability diagram of central
    intervals: on the diagonal they cover what they claim, below it they are too narrow.

    Args:
        scores: |y − m| / σ of points that nothing was fitted to, of any shape.
        half_widths: one a level, in units of σ.

    Returns:
        Shares in [0, 1], one a half width.

    Raises:
        ValueError: no scores, or scores that are not finite.

    Example:
        >>> reliability_curve([0.1, 0.5, 1.0, 3.0], [0.5, 2.0]).tolist()
        [0.5, 0.75]
    """
    values = as_finite_tensor(scores, "scores", ndim=range(16)).flatten()
    widths = torch.as_tensor(half_widths, dtype=values.dtype, device=values.device)
    return (values <= widths[:, None]).to(values.dtype).mean(1)
