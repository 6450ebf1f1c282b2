"""Layer normalisation over the units of a layer."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState


def layer_norm_rule(module: nn.LayerNorm) -> Rule:
    """Return the rule K'(x, z) = C(x, z)/√((C(x, x) + ε)(C(z, z) + ε)) and Θ' = Θ/√(…) alike.

    C is K less the product of the units' means, which are 0 after a linear layer and E[φ(u)] after
    an activation. Means and variances concentrate as width grows: their derivatives drop out of Θ.
    """
    held = all(not parameter.requires_grad for parameter in module.parameters())
    if not held or any(not _is(p, name == "weight") for name, p in module.named_parameters()):
        raise ValueError(
            "network: layer normalisation has a kernel rule where its scale is 1 and its shift 0, "
            "both not trained; give elementwise_affine=False, or freeze them."
        )
    dimensions, epsilon = len(module.normalized_shape), module.eps

    def rule(state: KernelState, _: Hyperparameters) -> KernelState:
        over_positions = dimensions > 1
        _check(state, dimensions)
        nngp, var1, var2 = state.nngp, state.var1, state.var2
        if state.means is not None:
            nngp, var1, var2 = (
                each - mean for each, mean in zip((nngp, var1, var2), state.means(), strict=True)
            )
        same = state.var2 is state.var1
        centred = replace(state, nngp=nngp, var1=var1, var2=var1 if same else var2, means=None)
        first = _scale(centred, centred.var1, epsilon, over_positions)
        second = first if same else _scale(centred, centred.var2, epsilon, over_positions)
        both = centred.across(first, 1) * centred.across(second, 0, second=True)
        var1 = _times_own(centred, centred.var1, first)
        return replace(
            centred,
            nngp=centred.nngp * both,
            ntk=None if centred.ntk is None else centred.ntk * both,
            var1=var1,
            var2=var1 if same else _times_own(centred, centred.var2, second),
        )

    return rule


def _is(parameter: Tensor, value: float) -> bool:
    return bool((parameter == value).all())


def _check(state: KernelState, dimensions: int) -> None:
    if not state.gaussian and state.means is None:
        raise ValueError(
            "network: layer normalisation has a kernel rule after a linear layer; put one before."
        )
    if dimensions != 1 + state.n_positions and not (dimensions == 1 and state.n_positions == 1):
        raise ValueError(
            "network: layer normalisation has a kernel rule over the features of vectors and "
            "sequences, or over all but the first dimension of sequences and images; got "
            f"{dimensions} dimensions to normalise and {state.n_positions} of positions."
        )


def _scale(state: KernelState, var: Tensor, epsilon: float, over_positions: bool) -> Tensor:
    """Return 1/√(variance + ε) at each position, [n, *P]."""
    variances = state.position_variance(var)
    if over_positions:
        each = variances.flatten(1).mean(1)
        variances = each.view(-1, *[1] * state.n_positions).expand_as(variances)
    return (variances + epsilon).rsqrt()


def _times_own(state: KernelState, var: Tensor, scale: Tensor) -> Tensor:
    if not state.pairs:
        return var * scale * scale
    ones = [1] * state.n_positions
    rows = scale.reshape(*scale.shape, *ones)
    return var * rows * scale.reshape(len(scale), *ones, *scale.shape[1:])
