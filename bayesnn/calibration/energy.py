"""Energy scores of samples of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, by_chunks
from bayesnn.calibration.inputs import with_members
from bayesnn.calibration.sample_scores import check_fair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_HELD = 3  # arrays of a chunk's size: the differences, their squares, and room


def energy_score(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Tensor:
    """Mean energy score of the distribution that puts equal weight on each of m samples.

    mean_i ‖x_i − y‖ − 1/(2m²) Σ_ij ‖x_i − x_j‖ with Euclidean norms: the CRPS of vectors, in y's
    units; lower is better. Joint samples are scored with their correlations, which no score of
    single outputs sees. Outputs of different units should be divided by a scale each. The time
    grows with m² × points, the memory with m × points of a chunk. For samples of a distribution it
    is too large by E‖X − X'‖/(2m) on average; `fair_energy_score` is not.

    Args:
        y: what was observed, [*points, outputs].
        samples: x, [samples, *points, outputs].
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 22 with β = 1.

    Example:
        >>> float(energy_score([[3.0, 4.0]], [[[0.0, 0.0]], [[6.0, 8.0]]]))
        2.5
    """
    return _mean_score(y, samples, fair=0, memory_budget=memory_budget)


def fair_energy_score(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, memory_budget: int = MEMORY_BUDGET
) -> Tensor:
    """Unbiased mean energy score of the distribution that independent samples come from.

    mean_i ‖x_i − y‖ − 1/(2m(m − 1)) Σ_ij ‖x_i − x_j‖: as `energy_score`, but with an expected value
    that does not depend on m. Single points can score below 0.

    Args:
        y: what was observed, [*points, outputs].
        samples: x, [samples, *points, outputs], at least 2.
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, or a single sample.

    Source:
        Gneiting and Raftery, JASA 102, 2007, equation 22; C. A. T. Ferro, Quarterly Journal of the
        Royal Meteorological Society 140, 2014, for what is fair.

    Example:
        >>> float(fair_energy_score([[3.0, 4.0]], [[[0.0, 0.0]], [[6.0, 8.0]]]))
        0.0
    """
    return _mean_score(y, samples, fair=1, memory_budget=memory_budget)


def _mean_score(
    y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, fair: int, memory_budget: int
) -> Tensor:
    target, (values,) = with_members(y, samples=samples)
    if target.ndim == 0:
        raise ValueError("y: expected [*points, outputs], got a single number.")
    m, outputs = len(values), target.shape[-1]
    check_fair(m, fair)

    def score(
        target: Float[Tensor, "outputs n"], some: Float[Tensor, "m outputs n"]
    ) -> Float[Tensor, " n"]:
        distance: Tensor = torch.linalg.vector_norm(some - target, dim=1).mean(0)
        for k in range(m - 1):  # each pair once
            apart = torch.linalg.vector_norm(some[k + 1 :] - some[k], dim=1)
            distance -= apart.sum(0) / (m * (m - fair))
        return distance

    # the points last, as chunks are taken of them
    flat = (target.reshape(-1, outputs).mT, values.reshape(m, -1, outputs).mT)
    held = _HELD * m * outputs
    return by_chunks(score, *flat, numbers_per_point=held, memory_budget=memory_budget).mean()
