"""Probability integral transforms: where in its predictive distribution each observation fell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bayesnn.calibration.gaussian_mixture_scores import mixture_weights
from bayesnn.calibration.inputs import same_shaped, with_members
from bayesnn.seeds import seeded_generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def pit_gaussian(
    y: ArrayLike | Tensor, mean: ArrayLike | Tensor, std: ArrayLike | Tensor
) -> Tensor:
    """Return Φ((y − m)/σ) at each point: even in [0, 1] where the Gaussians are the truth.

    Args:
        y: what was observed, of any shape.
        mean: m, like `y` or a single number.
        std: σ, above 0, like `y` or a single number.

    Returns:
        Values in [0, 1], like `y`.

    Raises:
        ValueError: shapes that differ, values that are not finite, a σ not above 0.

    Example:
        >>> pit_gaussian([0.0, 3.0], [0.0, 3.0], 2.0).tolist()
        [0.5, 0.5]
    """
    y, mean, std = same_shaped(y=y, mean=mean, std=std)
    if not bool((std > 0).all()):
        raise ValueError(f"std: expected values above 0, got {float(std.min()):.3g}.")
    return _gaussian_cdf(y, mean, std)


def pit_gaussian_mixture(
    y: ArrayLike | Tensor,
    means: ArrayLike | Tensor,
    stds: ArrayLike | Tensor,
    weights: ArrayLike | Tensor | None = None,
) -> Tensor:
    """Return Σ_k w_k Φ((y − m_k)/σ_k) at each point: even where the mixtures are the truth.

    Args:
        y: what was observed, of any shape.
        means: m_k, [components, *y.shape].
        stds: σ_k, above 0, like `means` or a single number.
        weights: w_k, [components] or like `means`; equal by default.

    Returns:
        Values in [0, 1], like `y`.

    Raises:
        ValueError: as for `nll_gaussian_mixture`.

    Example:
        >>> float(pit_gaussian_mixture([0.0], [[-1.0], [1.0]], 1.0))
        0.5
    """
    observed, (centres, spreads) = with_members(y, means=means, stds=stds)
    if not bool((spreads > 0).all()):
        raise ValueError(f"stds: expected values above 0, got {float(spreads.min()):.3g}.")
    shares = mixture_weights(weights, centres)
    below = torch.zeros_like(observed)
    for share, centre, spread in zip(shares, centres, spreads, strict=True):
        below += share * _gaussian_cdf(observed, centre, spread)
    return below.clamp(max=1)


def pit_samples(y: ArrayLike | Tensor, samples: ArrayLike | Tensor, *, seed: int = 0) -> Tensor:
    """Return the randomised rank of y among m samples: even where y is like one more of them.

    Drawn evenly between #{x < y}/(m + 1) and (#{x ≤ y} + 1)/(m + 1). Where y and the samples are
    exchangeable this is exactly uniform, for any number of samples, and for ties.

    Args:
        y: what was observed, of any shape.
        samples: x, [samples, *y.shape].
        seed: seed of the draws within a rank.

    Returns:
        Values in [0, 1], like `y`.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.

    Source:
        C. Czado, T. Gneiting, L. Held, Biometrics 65, 2009, for the randomisation.

    Example:
        >>> u = pit_samples([0.5], [[0.0], [1.0], [2.0]])
        >>> bool((u >= 0.25) & (u <= 0.5))
        True
    """
    observed, (values,) = with_members(y, samples=samples)
    below, at_most = torch.zeros_like(observed), torch.ones_like(observed)
    for value in values:
        below += value < observed
        at_most += value <= observed
    draws = torch.rand(observed.shape, generator=seeded_generator(seed), dtype=torch.float64)
    return torch.lerp(below, at_most, draws.to(observed)) / (len(values) + 1)


def _gaussian_cdf(y: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    below: Tensor = torch.special.ndtr((y - mean) / std)
    return below
