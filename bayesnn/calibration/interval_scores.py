"""How often intervals hold the truth, and how wide they are: never one without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bayesnn.calibration.inputs import same_shaped

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def coverage(
    interval: tuple[ArrayLike | Tensor, ArrayLike | Tensor], y: ArrayLike | Tensor
) -> Tensor:
    """Share of the points whose interval holds them, ends included.

    Coverage alone says little: quote it beside `mean_width` and the coverage of
    `constant_width_baseline`.

    Args:
        interval: lower and upper ends, each like `y`.
        y: what was observed, of any shape.

    Returns:
        The share in [0, 1], a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a lower end above its upper.

    Example:
        >>> float(coverage(([0.0, 0.0], [1.0, 1.0]), [0.5, 2.0]))
        0.5
    """
    y, lower, upper = _checked(interval, y=y)
    return ((lower <= y) & (y <= upper)).to(y.dtype).mean()


def mean_width(interval: tuple[ArrayLike | Tensor, ArrayLike | Tensor]) -> Tensor:
    """Mean width of the intervals, in y's units.

    Args:
        interval: lower and upper ends, of one shape.

    Returns:
        The mean width, a tensor without dimensions.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a lower end above its upper.

    Example:
        >>> float(mean_width(([0.0, 0.0], [1.0, 2.0])))
        1.5
    """
    lower, upper = _checked(interval)
    return (upper - lower).mean()


def interval_score(
    interval: tuple[ArrayLike | Tensor, ArrayLike | Tensor], y: ArrayLike | Tensor, level: float
) -> Tensor:
    """Mean interval score, which rewards narrow intervals and punishes misses, in y's units.

    (u − l) + 2/α · (l − y)₊ + 2/α · (y − u)₊ with α = 1 − level; lower is better, and the expected
    score is smallest for the true quantiles at α/2 and 1 − α/2.

    Args:
        interval: lower and upper ends, each like `y`.
        y: what was observed, of any shape.
        level: the probability in (0, 1) that the intervals claim, such as 0.95.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: as for `coverage`, or a level outside (0, 1).

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 43.

    Example:
        >>> float(interval_score(([0.0], [1.0]), [1.5], level=0.5))
        3.0
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a probability in (0, 1), got {level!r}.")
    y, lower, upper = _checked(interval, y=y)
    missed = (lower - y).clamp(min=0) + (y - upper).clamp(min=0)
    return ((upper - lower) + 2 / (1 - level) * missed).mean()


def _checked(
    interval: tuple[ArrayLike | Tensor, ArrayLike | Tensor], **first: ArrayLike | Tensor
) -> list[Tensor]:
    tensors = same_shaped(**first, lower=interval[0], upper=interval[1])
    if bool((tensors[-2] > tensors[-1]).any()):
        raise ValueError("interval: expected (lower, upper), got a lower end above its upper end.")
    return tensors
