"""Half widths of central intervals, in standard deviations: calibrated ones or Student's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

LEVELS = (*(k / 20 for k in range(1, 20)), 0.99)
"""Of the intervals whose half widths are calibrated."""


def student_half_width(level: float, n_samples: int) -> float:
    """Return t_{n−1} · √(1 + 1/n): what n samples of a Gaussian say of the next one.

    Args:
        level: the share that the interval shall cover.
        n_samples: n, at least 2.

    Returns:
        Half the width over the samples' standard deviation.

    Raises:
        ValueError: the level is not at least 0, below 1.

    Example:
        >>> round(student_half_width(0.95, 50), 3)
        2.03
    """
    from scipy.special import stdtrit

    check_level(level)
    return float(stdtrit(n_samples - 1, 0.5 + level / 2)) * math.sqrt(1 + 1 / n_samples)


def calibrated_half_width(level: float, half_widths: Mapping[str, float]) -> float:
    """Return the half width at a level, from those that were calibrated at some levels.

    Between two levels it is interpolated linearly, from 0 at level 0. Beyond the highest it grows
    as a Gaussian's does.

    Args:
        level: the share that the interval shall cover.
        half_widths: level, as text, to half width.

    Returns:
        Half the width over the standard deviation.

    Raises:
        ValueError: the level is not at least 0, below 1.

    Example:
        >>> round(calibrated_half_width(0.7, {"0.5": 0.6, "0.9": 1.6}), 3)
        1.1
    """
    from scipy.special import ndtri

    check_level(level)
    known = sorted((float(key), value) for key, value in half_widths.items())
    levels, widths = [0.0, *(k for k, _ in known)], [0.0, *(w for _, w in known)]
    if level <= levels[-1]:
        return float(np.interp(level, levels, widths))
    return widths[-1] * float(ndtri(0.5 + level / 2) / ndtri(0.5 + levels[-1] / 2))


def check_level(level: float) -> None:
    """Refuse a level that no interval can have.

    Args:
        level: to be checked.

    Raises:
        ValueError: it is not at least 0, below 1.
    """
    if not 0 <= level < 1:
        raise ValueError(
            f"level: expected a number of at least 0 and below 1, got {level!r}; write 0.95."
        )
