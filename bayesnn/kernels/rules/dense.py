"""Dense layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import nn

from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState


def dense_rule(layer: nn.Module) -> Rule:
    """Return the rule K' = s_w² K + s_b² and Θ' = K' + s_w² Θ; what is not trained adds none.

    Sequences have the layer at every token.
    """
    return linear_rule(layer, _features_last)


def _features_last(state: KernelState) -> KernelState:
    if state.n_positions > 1:
        raise ValueError(
            "network: a dense layer needs vectors or sequences; put Flatten before it, or take a "
            "convolution with kernel_size=1."
        )
    return state


def linear_rule(layer: nn.Module, mean_over_fan_in: Callable[[KernelState], KernelState]) -> Rule:
    """Return the rule of a layer that is linear in its weights.

    Args:
        layer: the layer, which says what of it is trained.
        mean_over_fan_in: takes covariances of inputs to their mean over the layer's fan-in, which
            for a dense layer they are.
    """
    trained_weight = _is_trained(layer, "weight")
    trained_bias = _is_trained(layer, "bias")

    def rule(state: KernelState, hyperparameters: Hyperparameters) -> KernelState:
        weight = hyperparameters["weight_std"] ** 2
        bias = hyperparameters["bias_std"] ** 2
        state = mean_over_fan_in(state)
        nngp = weight * state.nngp + bias
        ntk = state.ntk
        if ntk is not None:
            ntk = weight * ntk
            if trained_weight and trained_bias:
                ntk = ntk + nngp
            elif trained_weight:
                ntk = ntk + weight * state.nngp
            elif trained_bias:
                ntk = ntk + bias
        var1, var2 = state.own(lambda var: weight * var + bias)
        return replace(
            state, nngp=nngp, ntk=ntk, var1=var1, var2=var2, gaussian=True, fresh=True, means=None
        )

    return rule


def _is_trained(layer: nn.Module, name: str) -> bool:
    parameter = getattr(layer, name, None)
    # a layer without a bias has a bias_std of 0, so that it adds nothing either way
    return parameter is None or bool(parameter.requires_grad)
