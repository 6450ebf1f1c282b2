"""Proper scores of Gaussian mixtures in closed form: negative log likelihood and CRPS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from bayesnn.calibration.chunks import MEMORY_BUDGET, by_chunks
from bayesnn.calibration.gaussian_scores import expected_distance
from bayesnn.calibration.inputs import with_members
from bayesnn.checks import as_finite_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# how many arrays of a chunk's size the functions hold at once
_HELD = 6


def nll_gaussian_mixture(
    y: ArrayLike | Tensor,
    means: ArrayLike | Tensor,
    stds: ArrayLike | Tensor,
    weights: ArrayLike | Tensor | None = None,
    *,
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Mean negative log likelihood of y under mixtures of Gaussians, in nats a point.

    −log Σ_k w_k N(y; m_k, σ_k²), averaged over all points; lower is better. This is the score of an
    ensemble as it is, each member a component; `nll_gaussian` of the members' joint mean and
    deviation scores its Gaussian approximation.

    Args:
        y: what was observed, of any shape.
        means: m_k, [components, *y.shape].
        stds: σ_k, above 0, like `means` or a single number.
        weights: w_k, at least 0 with a sum of 1 over the components, [components] or like `means`;
            equal by default.
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, a σ not above 0, weights
            that are none.

    Example:
        >>> round(float(nll_gaussian_mixture([0.0], [[0.0], [0.0]], 1.0)), 4)
        0.9189
    """
    parts = _components(y, means, stds, weights)
    smallest = float(parts[2].min())
    if not smallest > 0:
        raise ValueError(
            f"stds: expected values above 0, got a smallest one of {smallest:.3g};"
            " a component without spread has no density."
        )
    return _mean(_negative_log_density, parts, memory_budget)


def crps_gaussian_mixture(
    y: ArrayLike | Tensor,
    means: ArrayLike | Tensor,
    stds: ArrayLike | Tensor,
    weights: ArrayLike | Tensor | None = None,
    *,
    memory_budget: int = MEMORY_BUDGET,
) -> Tensor:
    """Mean continuous ranked probability score of mixtures of Gaussians, in y's units.

    Σ_k w_k A(y − m_k, σ_k) − ½ Σ_kl w_k w_l A(m_k − m_l, √(σ_k² + σ_l²)), A(m, σ) the mean of |X|
    of a Gaussian; lower is better. The time grows with components² × points, the memory with
    components × points of a chunk.

    Args:
        y: what was observed, of any shape.
        means: m_k, [components, *y.shape].
        stds: σ_k, at least 0, like `means` or a single number; with 0 everywhere this is
            `crps_samples`.
        weights: w_k, at least 0 with a sum of 1 over the components, [components] or like `means`;
            equal by default.
        memory_budget: bytes that intermediate values may take.

    Returns:
        The mean over all points, a tensor without dimensions.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, a σ below 0, weights that
            are none.

    Source:
        E. P. Grimit, T. Gneiting, V. J. Berrocal, N. A. Johnson, Quarterly Journal of the Royal
        Meteorological Society 132, 2006, equation 5.

    Example:
        >>> float(crps_gaussian_mixture([0.0], [[-1.0], [1.0]], 0.0))
        0.5
    """
    parts = _components(y, means, stds, weights)
    smallest = float(parts[2].min())
    if not smallest >= 0:
        raise ValueError(f"stds: expected values of at least 0, got {smallest:.3g}.")
    return _mean(_ranked_probability_score, parts, memory_budget)


def mixture_weights(
    weights: ArrayLike | Tensor | None, means: Float[Tensor, components * points]
) -> Float[Tensor, components * points]:
    """Return the weight of each component at each point; a view where all points share them.

    Args:
        weights: [components], like `means`, or None for equal ones.
        means: of the components.

    Returns:
        The weights, with a sum of exactly 1 but for rounding.

    Raises:
        ValueError: another shape, weights below 0 or not finite, or another sum.

    Example:
        >>> mixture_weights([0.25, 0.75], torch.zeros(2, 1))
        tensor([[0.2500],
                [0.7500]])
    """
    if weights is None:
        return means.new_full((), 1 / len(means)).expand(means.shape)
    given = as_finite_tensor(weights, "weights", ndim=range(16)).to(means)
    if given.shape not in {means.shape, means.shape[:1]}:
        raise ValueError(
            f"weights: expected the shape {tuple(means.shape[:1])} or {tuple(means.shape)}, got "
            f"{tuple(given.shape)}."
        )
    sums = given.sum(0)
    if bool((given < 0).any()) or float((sums - 1).abs().max()) > 1e-3:
        raise ValueError(
            "weights: expected values of at least 0 with a sum of 1 over the components, got a "
            f"smallest one of {float(given.min()):.3g} and sums from {float(sums.min()):.4g} to "
            f"{float(sums.max()):.4g}; divide them by their sum."
        )
    given = given / sums
    return given.view(-1, *[1] * (means.ndim - given.ndim), *given.shape[1:]).expand(means.shape)


def _components(
    y: ArrayLike | Tensor,
    means: ArrayLike | Tensor,
    stds: ArrayLike | Tensor,
    weights: ArrayLike | Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    observed, (centres, spreads) = with_members(y, means=means, stds=stds)
    shares = mixture_weights(weights, centres)
    n_components = len(centres)
    flat = [t.reshape(n_components, -1) for t in (centres, spreads, shares)]
    return observed.reshape(-1), flat[0], flat[1], flat[2]


def _mean(score: Callable[..., Tensor], parts: tuple[Tensor, ...], memory_budget: int) -> Tensor:
    held = _HELD * len(parts[1])
    return by_chunks(score, *parts, numbers_per_point=held, memory_budget=memory_budget).mean()


def _negative_log_density(
    y: Float[Tensor, " n"],
    means: Float[Tensor, "k n"],
    stds: Float[Tensor, "k n"],
    weights: Float[Tensor, "k n"],
) -> Float[Tensor, " n"]:
    exponents = ((y - means) / stds).square_().mul_(-0.5)
    logs = exponents.sub_(stds.log()).add_(weights.log())
    return 0.5 * math.log(2 * math.pi) - logs.logsumexp(0)


def _ranked_probability_score(
    y: Float[Tensor, " n"],
    means: Float[Tensor, "k n"],
    stds: Float[Tensor, "k n"],
    weights: Float[Tensor, "k n"],
) -> Float[Tensor, " n"]:
    score = (weights * expected_distance(y - means, stds)).sum(0)
    # a component's distance from itself, ½·w²·2σ/√π, then each pair of components once
    score -= (weights.square() * stds).sum(0) / math.sqrt(math.pi)
    for k in range(len(means) - 1):
        spread = torch.hypot(stds[k], stds[k + 1 :])
        apart = weights[k + 1 :] * expected_distance(means[k + 1 :] - means[k], spread)
        score -= weights[k] * apart.sum(0)
    return score
