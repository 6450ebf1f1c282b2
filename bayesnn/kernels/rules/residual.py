"""Residual blocks: covariances of the input and of the branch add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState

Branch = Callable[[KernelState, Hyperparameters], KernelState]


def residual_rule(branch: Branch, scale: float) -> Rule:
    """Return the rule K' = K + λ² K_F and Θ' = Θ + λ² Θ_F of y = x + λ F(x).

    F must have a linear layer, whose fresh weights make F(x) uncorrelated with x, and units of mean
    0 at its end. Source: Hayou et al., 2021, arXiv 2010.12859.

    Args:
        branch: the rule of F.
        scale: λ.
    """
    factor = scale**2

    def rule(state: KernelState, hyperparameters: Hyperparameters) -> KernelState:
        inner = branch(replace(state, fresh=False), hyperparameters)
        if not inner.fresh or inner.means is not None:
            raise ValueError(
                "network: a residual branch has a kernel rule where it ends with a linear layer, "
                "or with layer normalisation after one."
            )
        if inner.nngp.shape != state.nngp.shape:
            raise ValueError("network: a residual branch must keep the positions of its input.")
        ntk = None
        if state.ntk is not None and inner.ntk is not None:
            ntk = state.ntk + factor * inner.ntk
        var1 = state.var1 + factor * inner.var1
        return replace(
            state,
            nngp=state.nngp + factor * inner.nngp,
            ntk=ntk,
            var1=var1,
            var2=var1 if state.var2 is state.var1 else state.var2 + factor * inner.var2,
            gaussian=state.gaussian and inner.gaussian,
        )

    return rule
