"""Activations."""

from __future__ import annotations

from dataclasses import replace

from bayesnn.kernels.activations import Expectation
from bayesnn.kernels.rules.rule import Hyperparameters, Rule
from bayesnn.kernels.state import KernelState


def elementwise_rule(expectation: Expectation) -> Rule:
    """Return the rule K' = E[φ(u)φ(v)] and Θ' = E[φ'(u)φ'(v)] Θ."""

    def rule(state: KernelState, _: Hyperparameters) -> KernelState:
        state = state.with_exact_diagonal()
        value, slope = expectation(state.nngp, *state.outer())
        var1 = expectation(state.var1, *state.outer_self(state.var1))[0]
        var2 = var1
        if state.var2 is not state.var1:
            var2 = expectation(state.var2, *state.outer_self(state.var2))[0]
        ntk = None if state.ntk is None else slope * state.ntk
        return replace(state, nngp=value, ntk=ntk, var1=var1, var2=var2, centred=False)

    return rule
