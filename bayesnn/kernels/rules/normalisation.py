"""Layer normalisation over the units of a layer, whose mean is 0 in the limit."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState


def layer_norm_rule(module: nn.LayerNorm) -> Rule:
    """Return the rule K'(x, z) = K(x, z)/√((K(x, x) + ε)(K(z, z) + ε)), and Θ alike.

    The variances concentrate as width grows, so their derivative drops out of Θ.
    """
    if any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(
            "network: layer normalisation has a kernel rule where its scale and shift are not "
            "trained; give elementwise_affine=False, or freeze them."
        )
    epsilon = module.eps

    def rule(state: KernelState, _: Hyperparameters) -> KernelState:
        if not state.centred:
            raise ValueError(
                "network: layer normalisation has a kernel rule directly after a linear layer, "
                "whose units have mean 0; move it there."
            )
        rows, columns = state.outer()
        scale = (rows + epsilon).rsqrt() * (columns + epsilon).rsqrt()
        var1 = _own(state, state.var1, epsilon)
        return replace(
            state,
            nngp=state.nngp * scale,
            ntk=None if state.ntk is None else state.ntk * scale,
            var1=var1,
            var2=var1 if state.var2 is state.var1 else _own(state, state.var2, epsilon),
        )

    return rule


def _own(state: KernelState, var: Tensor, epsilon: float) -> Tensor:
    rows, columns = state.outer_self(var)
    return var * (rows + epsilon).rsqrt() * (columns + epsilon).rsqrt()
