"""Expected calibration error of central intervals, nothing chosen on the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.interval_scores import coverage
from bayesnn.checks import check_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEVELS = tuple(k / 20 for k in range(20))


def expected_calibration_error(
    interval_at: Callable[[float], tuple[Tensor, Tensor]], y: ArrayLike | Tensor
) -> Tensor:
    """Mean distance of the coverage of central intervals from the levels they claim.

    ECE = Σ_p 0.05·|coverage(p) − p| for p = 0, 0.05, …, 0.95. Intervals are taken as they are: no
    slack δ that is chosen on the truth widens them, unlike in some published figures.

    Args:
        interval_at: gives the (lower, upper) ends of the central interval at a level, each like
            `y`, such as `Predictive.interval`.
        y: what was observed, of any shape.

    Returns:
        The error, a tensor without dimensions: 0 is perfect; 0.475 at most on either side.

    Raises:
        ValueError: as for `coverage`.

    Source:
        Vasconcelos, He, Singh and Teh, TMLR 2023, arXiv 2202.10847, with δ = 0.

    Example:
        >>> narrow = lambda level: (torch.zeros(4), torch.zeros(4))
        >>> expected_calibration_error(narrow, torch.ones(4))
        tensor(0.4750)
    """
    errors = [(coverage(interval_at(p), y) - p).abs() for p in _LEVELS]
    return 0.05 * torch.stack(errors).sum()


def ece_floor(n_samples: int) -> float:
    """Calibration error of exact posterior samples whose intervals are their sample quantiles.

    The k-th of n ordered samples stands at probability k/(n + 1) on average, but linear sample
    quantiles place it at (k − 1)/(n − 1): a central interval then covers p·(n − 1)/(n + 1), and
    ECE = 0.95/(n + 1). This is exact for a uniform posterior and within 7 % for a Gaussian one. An
    error from n samples can be judged beside this floor only.

    Args:
        n_samples: n, the number of samples behind the quantiles.

    Returns:
        The floor, for infinitely many points.

    Raises:
        ValueError: fewer than 2 samples.

    Example:
        >>> round(ece_floor(50), 3)
        0.019
    """
    return 0.95 / (check_count(n_samples, "n_samples", minimum=2) + 1)
