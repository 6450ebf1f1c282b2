"""Continuous ranked probability scores of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, by_chunks
from bayesnn.calibration.inputs import with_members

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# the deviations, the same in order, their places in it and what is summed
_HELD = 5


def crps_samples(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Tensor:
    """Mean CRPS of the distribution that puts equal weight on each of m samples, in y's units.

    mean_i |x_i − y| − 1/(2m²) Σ_ij |x_i − x_j|, the latter from the sorted samples in O(m log m);
    lower is better. For samples from a distribution it is larger than that distribution's own
    score, by E|X − X'|/(2m) on average: `fair_crps_samples` takes this away.

    Args:
        y: what was observed, of any shape.
        samples: x, [samples, *y.shape].
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 20.

    Example:
        >>> float(crps_samples([0.0], [[-1.0], [1.0]]))
        0.5
    """
    return _mean_score(y, samples, fair=0, memory_budget=memory_budget)


def fair_crps_samples(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Tensor:
    """Unbiased mean CRPS of the distribution that independent samples come from, in y's units.

    mean_i |x_i − y| − 1/(2m(m − 1)) Σ_ij |x_i − x_j| in O(m log m); lower is better. Its expected
    value does not depend on m, so that it compares methods with different numbers of samples or
    members. Single points can score below 0.

    Args:
        y: what was observed, of any shape.
        samples: x, [samples, *y.shape], at least 2.
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a single sample.

    Source:
        C. A. T. Ferro, Quarterly Journal of the Royal Meteorological Society 140, 2014.

    Example:
        >>> float(fair_crps_samples([0.0], [[-1.0], [1.0]]))
        0.0
    """
    return _mean_score(y, samples, fair=1, memory_budget=memory_budget)


def check_fair(n_samples: int, fair: int) -> None:
    """Refuse a single sample where the distance between two is asked for.

    Raises:
        ValueError: `fair` is 1, and there is one sample.

    Example:
        >>> check_fair(1, 0)
    """
    if n_samples <= fair:
        raise ValueError(
            "samples: expected at least 2 for an unbiased score, got 1; one sample says nothing "
            "of the spread."
        )


def _mean_score(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, fair: int, memory_budget: int
) -> Tensor:
    observed, (values,) = with_members(y, samples=samples)
    m = len(values)
    check_fair(m, fair)
    places = torch.arange(1 - m, m, 2, device=values.device, dtype=values.dtype).unsqueeze(1)

    def score(target: Float[Tensor, " n"], some: Float[Tensor, "m n"]) -> Float[Tensor, " n"]:
        # deviations from the target, not values: the sum below cancels what all have in common
        deviations = (some - target).sort(dim=0).values
        spread = (places * deviations).sum(0) / (m * (m - fair))
        return deviations.abs().mean(0) - spread

    flat = (observed.reshape(-1), values.reshape(m, -1))
    held = _HELD * m
    return by_chunks(score, *flat, numbers_per_point=held, memory_budget=memory_budget).mean()
