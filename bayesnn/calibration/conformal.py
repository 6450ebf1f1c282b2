"""Half widths of intervals from scores that were held out."""

from __future__ import annotations

import math
import warnings
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
    place = quantile_place(len(ordered), level)
    if place > len(ordered):
        return ordered.new_tensor(math.inf)
    return ordered[max(place, 1) - 1] if place > 0 else torch.zeros_like(ordered[0])


def bounding_quantile(scores: Tensor, level: float) -> Tensor:
    """Return the conformal quantile at a level in (0, 1), with a warning where it is infinite.

    Args:
        scores: nonconformity scores of held-out points.
        level: probability in (0, 1).

    Returns:
        The quantile, a tensor without dimensions.

    Raises:
        ValueError: as for `conformal_quantile`, or a level of 0.

    Example:
        >>> float(bounding_quantile(torch.tensor([-1.0, -2.0]), 0.3))
        -2.0
    """
    check_level(level)
    warn_if_unbounded(scores.numel(), level)
    return conformal_quantile(scores, level)


def quantile_place(n: int, level: float) -> int:
    """Return ⌈level · (n + 1)⌉: which of n ordered scores bounds a further one.

    Rounding is forgiven: 0.95 · 20 is 19, whatever its last bit.

    Args:
        n: number of scores.
        level: probability.

    Returns:
        The place, from 1 for the smallest; n + 1 where no score bounds.

    Example:
        >>> quantile_place(19, 0.95), quantile_place(18, 0.95)
        (19, 19)
    """
    return math.ceil(level * (n + 1) - 1e-9)


def check_level(level: float) -> None:
    """Refuse a level that is no probability strictly between 0 and 1.

    Raises:
        ValueError: a level outside (0, 1).

    Example:
        >>> check_level(95)
        Traceback (most recent call last):
        ...
        ValueError: level: expected a probability in (0, 1), got 95.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability in (0, 1), got {level!r}.")


def warn_if_unbounded(n: int, level: float) -> bool:
    """Say that n held-out points are too few for a level, and return whether they are.

    Args:
        n: number of held-out points.
        level: probability in (0, 1).

    Returns:
        Whether no finite interval, or none but the set of all classes, keeps the promise.

    Example:
        >>> warn_if_unbounded(19, 0.95)
        False
    """
    if quantile_place(n, level) <= n:
        return False
    needed = n
    while quantile_place(needed, level) > needed:
        needed = max(needed + 1, math.floor(level / (1 - level)) - 1)
    warnings.warn(
        f"level {level:g} needs at least {needed} held-out points, got {n}: intervals are "
        "infinite, and sets hold all classes.",
        stacklevel=4,
    )
    return True


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
