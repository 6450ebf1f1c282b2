"""Layers of sequences that mix their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState
from bayesnn.networks import AttentionMixing


def attention_rule(module: AttentionMixing) -> Rule:
    """Return the rule K' = A K Aᵀ and Θ' = A Θ Aᵀ over the tokens.

    Source: Hron, Bahri, Sohl-Dickstein, Novak, 2020, arXiv 2006.10540, with attention weights that
    do not depend on the data.
    """

    def rule(state: KernelState, _: Hyperparameters) -> KernelState:
        check_tokens(state, "AttentionMixing")
        weights = module.weights.to(state.nngp)
        if weights.shape[1] != state.nngp.shape[-1]:
            raise ValueError(
                f"network: AttentionMixing expects {weights.shape[1]} tokens, got "
                f"{state.nngp.shape[-1]}."
            )
        return state.map(lambda values: weights @ values @ weights.T)

    return rule


def token_mean_rule(state: KernelState, _: Hyperparameters) -> KernelState:
    """Return the mean over all pairs of tokens."""
    check_tokens(state, "TokenMean")

    def mean(values: Tensor) -> Tensor:
        return torch.mean(values, (-2, -1))

    return state.map(mean, n_positions=0, pairs=False)


def check_tokens(state: KernelState, name: str) -> None:
    """Raise a ValueError where the points are no sequences."""
    if state.n_positions != 1 or not state.pairs:
        raise ValueError(
            f"network: {name} needs sequences [n, tokens, features], got points with "
            f"{state.n_positions} dimensions of positions."
        )
