"""What comes in: covariances of the points themselves, before any layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bayesnn.kernels.rules.rule import Hyperparameters
from bayesnn.networks import AttentionMixing, InfiniteFourierFeatures, TokenMean

Products = tuple[Tensor, Tensor, Tensor]  # of x1 with x2, of x1 with itself, of x2 with itself
InputRule = Callable[[Tensor, Tensor, bool, Hyperparameters], Products]


def raw_inputs(x1: Tensor, x2: Tensor, pairs: bool, _: Hyperparameters) -> Products:
    """Return the mean over features of products x·x', at each position or pair of positions.

    Args:
        x1: vectors [n1, features], sequences [n1, tokens, features] or images [n1, channels, rows,
            columns], whose features are the channels.
        x2: points of the same kind.
        pairs: whether for all pairs of positions P.

    Returns:
        [n1, n2, *P] or [n1, n2, *P, *P], and the same without n2 for x1, without n1 for x2.
    """
    if x1.ndim == 2:
        var1 = x1.square().mean(1)
        return x1 @ x2.T / x1.shape[1], var1, var1 if x2 is x1 else x2.square().mean(1)
    first = _features_first(x1)
    second = first if x2 is x1 else _features_first(x2)
    positions = tuple(first.shape[2:])
    shape = positions * 2 if pairs else positions
    both, own = ("acp,bcq->abpq", "acp,acq->apq") if pairs else ("acp,bcp->abp", "acp,acp->ap")
    flat1, flat2 = first.flatten(2) / first.shape[1], second.flatten(2)
    var1 = torch.einsum(own, flat1, first.flatten(2)).view(len(x1), *shape)
    var2 = var1
    if x2 is not x1:
        var2 = torch.einsum(own, flat2 / first.shape[1], flat2).view(len(x2), *shape)
    return torch.einsum(both, flat1, flat2).view(len(x1), len(x2), *shape), var1, var2


def fourier_limit(x1: Tensor, x2: Tensor, _: bool, hyperparameters: Hyperparameters) -> Products:
    """Return ½ exp(−Ω₀²|x − x'|²/2), the mean of γ(x)γ(x') over infinitely many features."""
    if x1.ndim != 2:
        raise ValueError(
            "network: InfiniteFourierFeatures takes coordinates [n, in_features], got points with "
            f"{x1.ndim - 2} dimensions of positions."
        )
    # differences, not products: near points must not lose their distance to rounding
    distance = torch.cdist(x1, x2, compute_mode="donot_use_mm_for_euclid_dist")
    exponent = distance.square() * (hyperparameters["frequency_std"] ** 2 / 2)
    var1 = x1.new_full((len(x1),), 0.5)
    return 0.5 * torch.exp(-exponent), var1, var1 if x2 is x1 else x2.new_full((len(x2),), 0.5)


def input_rule_of(module: nn.Module) -> InputRule | None:
    """Return the rule of a module that takes the points themselves; None for one that does not."""
    return fourier_limit if isinstance(module, InfiniteFourierFeatures) else None


def mixes_positions(module: nn.Module) -> bool:
    """Return whether a module needs the covariances of all pairs of positions."""
    mixing = nn.AvgPool2d | nn.AdaptiveAvgPool2d | AttentionMixing | TokenMean
    return isinstance(module, mixing) or bool(getattr(module, "mixes_positions", False))


def n_positions(x: Tensor) -> int:
    """Return how many positions a point has: tokens, pixels, or 1."""
    return 1 if x.ndim == 2 else _features_first(x).shape[2:].numel()


def _features_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1) if x.ndim == 3 else x
